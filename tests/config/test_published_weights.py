"""What is on this machine is found in the hub's cache without a network, and what is not is named with the command that gets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fila_lab.cli import main
from fila_lab.config import resolve_run
from fila_lab.config.published_weights import absence_warnings, fetch_command, holdings
from fila_lab.config.weights import PACKAGE_WEIGHTS

Hub = Callable[[str], Path]


def test_nothing_is_here_and_the_commands_say_how_to_get_it(hub: Hub) -> None:
    held = {each.part: each for each in holdings(resolve_run("base"))}
    assert {each.state for each in held.values()} == {"missing"}
    repository = "timm/vit_base_patch16_clip_224.openai"
    assert held["vit"].remedy == (
        f"hf download {repository} open_clip_model.safetensors || hf download {repository} open_clip_pytorch_model.bin"
    )
    assert held["convnext"].remedy.startswith("hf download timm/convnext_base.clip_laion2b model.safetensors")
    assert held["language"].remedy == held["tokenizer"].remedy == "hf download Qwen/Qwen2.5-0.5B-Instruct"
    assert fetch_command("hf:openai/clip-vit-base-patch16") == "hf download openai/clip-vit-base-patch16"


def test_what_the_cache_holds_is_found(hub: Hub) -> None:
    (hub("timm/vit_base_patch16_clip_224.openai") / "open_clip_pytorch_model.bin").touch()
    (hub("timm/convnext_base.clip_laion2b") / "model.safetensors").touch()
    language = hub("Qwen/Qwen2.5-0.5B-Instruct")
    for name in ("config.json", "tokenizer.json"):
        (language / name).touch()
    held = {each.part: each for each in holdings(resolve_run("base"))}
    assert {part: each.state for part, each in held.items()} == {
        "vit": "here",
        "convnext": "here",
        "language": "missing",  # only its configuration has been fetched
        "tokenizer": "here",
    }
    assert held["vit"].files[0].name == "open_clip_pytorch_model.bin"


def test_a_repository_with_a_part_of_its_shards_is_not_here(hub: Hub) -> None:
    index = '{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}'
    folder = hub("owner/clip")
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    config = resolve_run("mini", {"vit.weights": "hf:owner/clip"})
    (folder / "model-1-of-2.safetensors").write_bytes(b"")
    assert holdings(config)[0].state == "missing"


def test_random_and_packaged_parts_need_nothing() -> None:
    config = resolve_run("mini", {"vit.weights": "random"})
    packaged = [(part, "package") for part in ("convnext", "language") for _ in config.tower_pairs]
    assert [(each.part, each.state) for each in holdings(config)] == [("vit", "random"), *packaged]


def test_the_verb_says_it_in_a_table_and_in_json(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    (hub("timm/convnext_base.clip_laion2b") / "model.safetensors").write_bytes(b"x" * 2**21)
    for arguments, code in ((["weights", "mini"], 0), (["weights", "base"], 3), (["weights", "base", "--json"], 3)):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert (stop.value.code or 0) == code
        out = capsys.readouterr().out
    convnext = json.loads(out)[1]
    assert (convnext["state"], convnext["bytes"], convnext["estimated"]) == ("here", 2**21, False)
    language = json.loads(out)[2]
    assert (language["state"], language["estimated"]) == ("missing", True)
    assert 0.9e9 < language["bytes"] < 1.1e9  # 0.5 B parameters in bfloat16


def test_a_plan_warns_of_what_its_cells_would_have_to_fetch(hub: Hub) -> None:
    (hub("timm/vit_base_patch16_clip_224.openai") / "open_clip_model.safetensors").touch()
    told = absence_warnings([resolve_run("base", {"seed": seed}) for seed in range(3)])
    assert [message.partition(" = ")[0] for message in told] == ["convnext.weights", "language.weights", "language.tokenizer"]
    assert "is not on this machine: a cell fetches it, or, without a network, `hf download timm/convnext_base" in told[0]
    assert len(absence_warnings([resolve_run("base", {"fusion.name": "none"})])) == 2
    assert absence_warnings([resolve_run("mini")]) == []


def test_a_local_file_that_is_missing_is_said(tmp_path: Path) -> None:
    mine = {"convnext.weights": str(tmp_path / "x.pt"), "language.weights": str(tmp_path / "none" / "x")}
    held = holdings(resolve_run("mini", mine | {"vit.weights": "random"}))
    assert [each.state for each in held[1:]] == ["missing", "missing"]
    assert "x.pt is missing; check the path" in held[1].remedy


def test_a_local_file_that_is_cut_off_and_a_folder_without_a_tokenizer_are_said(tmp_path: Path) -> None:
    whole = (PACKAGE_WEIGHTS / "mini_convnext_0.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole)
    run = {"convnext.weights": str(tmp_path / "x.safetensors"), "language.tokenizer": str(tmp_path)}
    held = {each.part: each for each in holdings(resolve_run("mini", run))}
    assert held["convnext"].state == "here"
    assert held["tokenizer"].state == "missing"
    assert "holds no tokenizer; give a folder" in held["tokenizer"].remedy
    (tmp_path / "x.safetensors").write_bytes(whole[:-100])
    held = {each.part: each for each in holdings(resolve_run("mini", run))}
    assert held["convnext"].state == "missing"
    assert "make or fetch the file again" in held["convnext"].remedy
