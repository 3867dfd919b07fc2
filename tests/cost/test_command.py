"""`fila-lab cost`: closed form at once, measured figures in a folder, one message for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fila_lab.cli import main
from fila_lab.config import RunConfig
from fila_lab.cost import passes, session
from fila_lab.cost.count import Count
from fila_lab.cost.table import closed_forms

ROOT = Path(__file__).parents[2]
TINY = ("--set", "geometry.canvases=[[42, 84], [84, 84]]")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.chdir(ROOT)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(("cost", *arguments))
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_a_studys_arms_on_another_preset_and_at_several_sizes(call: Any) -> None:
    code, out, _ = call(
        "fusion_methods", "--preset", "paper", "--arms", "none,concat,concat_ungated", "--sizes", "672x672", "--detail", "16,24"
    )
    assert code == 0
    lines = [line.split("  ")[0] for line in out.splitlines()[3:]]
    assert lines == ["none", "concat", "concat", "concat_ungated", "concat_ungated"]
    assert "1.83 T" in out  # CLIP ViT-L/14-336 over five tiles, up to the last layer but one
    assert "2928" in out


def test_with_which_settings_the_same_steps_fit(call: Any) -> None:
    code, out, _ = call("--preset", "base", "--devices", "1", "--device-memory", "24")
    assert code == 0
    told = out.strip().splitlines()[-2:]
    assert told[0] == "in 24 GiB of each device the same steps fit with"
    assert told[1].startswith("base  one device: --set train.batch_size=4 --set train.accumulate=16, or --set runtime.checkpointing=true")
    _, out, _ = call("--preset", "mini", "--devices", "2")
    assert out.strip().splitlines()[-1] == "mini  fsdp: as it is"


def test_memory_of_each_of_several_devices_stands_by_strategy(call: Any) -> None:
    code, out, _ = call("--preset", "paper", "--devices", "8")
    assert code == 0
    head, *lines = out.split("\n\n")[-2].splitlines()
    assert all(word in head for word in ("language", "a device", "a checkpoint"))
    assert [line.split()[1] for line in lines] == ["ddp", "deepspeed", "fsdp"]
    assert "of its share of a batch (64)" in out
    code, out, _ = call("--preset", "mini", "--arms", "none,concat", "--devices", "1")
    assert code == 0
    assert out.count("one device  ") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--arms", "concatt"), "--arms 'concatt' is no fusion (did you mean 'concat'?)"),
        (("fusion_methods", "--arms", "orcale_map"), "did you mean 'oracle_map'"),
        (("--sizes", "500x500"), "500x500 is not a whole number of tiles of 42 px"),
        (("--detail", "0"), "stage-4 cells a tile side"),
        (("--out", "somewhere"), "add --measure"),
        (("--measure",), "--measure needs --out DIR"),
        (("--measure", "--out", "somewhere", "--devices", "8"), "--devices 8 is a closed form's"),
        (("--measure", "--out", "somewhere", "--precision", "fp16"), "--precision 'fp16' is for GPUs"),
        (("--measure", "--out", "somewhere", "--device", "cuda"), "sees no CUDA device here"),
        (("--measure", "--out", "somewhere", "--precision", "fp8"), "choose fp32, bf16 or fp16"),
        (("--measure", "--out", "somewhere", "--threads", "4096"), "choose 1 to"),
        (("fusion_methods", "--preset", "papre"), "did you mean 'paper'"),
    ],
)
def test_a_mistake_is_one_message(call: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_an_arm_whose_settings_another_preset_lacks(call: Any, tmp_path: Path) -> None:
    """mini has six layers; a fusion point after layer 20 is for `paper`."""
    study = tmp_path / "late.yaml"
    study.write_text(
        "name: late\nquestion: q\npreset: paper\nmargin: 0.1\nfamilies: {}\nbudgets: {small: {seeds: [0]}}\n"
        "arms: {late: {set: {fusion.depth: [[4, 20]]}}}\n",
        encoding="utf-8",
    )
    assert call(str(study))[0] == 0
    code, _, err = call(str(study), "--preset", "mini")
    assert code == 2
    assert "arm 'late': fusion.depth = [[4, 20]]: fusion points must follow layers 1 to 5" in err
    assert "set vit.feature_layer" not in err  # it takes the last layer already


def planned(config: RunConfig) -> dict[str, Count]:
    return {name: Count(int(cost.parameters), 0, int(cost.flops), 0) for name, cost in closed_forms(config).items()}


def test_measured_costs_leave_table_figures_and_manifest(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "measured_afresh", lambda what, configs, **_: {"it": "not in a test"})
    monkeypatch.setattr(session, "count_vision", planned)  # counting has tests of its own
    monkeypatch.setattr(session, "count_language", planned)
    monkeypatch.setattr(passes, "SIDE", 64)
    arguments = (*TINY, "--arms", "none,concat", "--sizes", "42x84,84x84,84x126", "--measure", "--out", str(tmp_path))
    code, out, _ = call(*arguments, "--rounds", "2", "--precision", "fp32")
    assert code == 0
    table = pd.read_parquet(tmp_path / "costs.parquet")
    assert set(table["arm"]) == {"none", "concat"}
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(table)
    assert set(pd.read_csv(tmp_path / "fits.csv")["component"]) > {"vit", "convnext"}
    names = ("components", "fusions", "scaling")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    )
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["weights"] == "random"
    assert (manifest["runs"][0]["precision"], manifest["runs"][0]["threads"]) == ("fp32", 1)
    assert {"torch", "timm"} <= set(manifest["versions"])
    assert "not measured: not in a test" in out
    assert "of peak" in out
