"""Pretraining writes what the presets read, and its pages say truly what is where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fila_lab.config import FilaError, resolve_run
from fila_lab.config.hashing import file_sha256
from fila_lab.config.weights import PACKAGE_WEIGHTS
from fila_lab.data import parallel
from fila_lab.data.seam.content import COLOURS
from fila_lab.data.seam.symbolic import CHUNK, recoloured, symbolic_page, symbolic_pages
from fila_lab.data.seam.truth import CLASSES as TRUTH_CLASSES
from fila_lab.data.seam.truth import TRUTH
from fila_lab.modeling import build_model
from fila_lab.modeling.answers import load_answer_parts
from fila_lab.pretraining import towers
from fila_lab.pretraining.answers import pretrain_answers
from fila_lab.pretraining.look_up import AnswerRecipe, page_truth

MINI = resolve_run("mini", {"data.seam.tasks": {"reading": 0.85, "coarse": 0.15}})


@pytest.mark.slow
def test_a_pretrained_tower_is_one_a_run_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = towers.Recipe(steps=2, batch_size=8, learning_rate=1e-3, pages=10, validation_pages=10)
    monkeypatch.setattr(towers, "RECIPES", {"vit": small, "convnext": small})
    for tower in ("vit", "convnext"):
        scores = towers.pretrain(tower, tmp_path)
        card = json.loads((tmp_path / f"mini_{tower}.json").read_text(encoding="utf-8"))
        assert card["sha256"] == file_sha256(tmp_path / f"mini_{tower}.safetensors")
        assert 0 <= scores["glyph_recall"] <= 1
    paths = {f"{tower}.weights": str(tmp_path / f"mini_{tower}.safetensors") for tower in ("vit", "convnext")}
    build_model(resolve_run("mini", paths, {"language.weights": "random"}))


@pytest.mark.slow
def test_a_further_pair_shares_the_language_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make towers` does: a ViT a pair, one language model, a projector behind each ViT; a run loads those of its seed's pair."""
    small = towers.Recipe(steps=2, batch_size=8, learning_rate=1e-3, pages=10, validation_pages=10)
    monkeypatch.setattr(towers, "RECIPES", {"vit": small, "convnext": small})
    recipe = AnswerRecipe(steps=4, pages=200, unseen=200, projector_steps=4, dense_pages=8, held_out_pages=4)
    files = {part: [str(tmp_path / f"mini_{part}_{pair}.safetensors") for pair in range(2)] for part in ("vit", "convnext", "answers")}
    for pair in range(2):
        for tower in ("vit", "convnext"):
            towers.pretrain(tower, tmp_path, seed=pair, third=pair)
        first = {"start": files["answers"][0], "steps": 0} if pair else {}
        pretrain_answers(tmp_path, seed=pair, third=pair, vit=files["vit"][pair], recipe=recipe, **first)
    cards = [json.loads(Path(file).with_suffix(".json").read_text(encoding="utf-8")) for file in files["answers"]]
    assert "--steps 0 --seed 1" in cards[1]["command"]
    assert [card["split"]["number"] for card in cards] == [0, 1]
    assert cards[0]["vit"] != cards[1]["vit"]
    pairs = [{"vit": vit, "convnext": convnext, "language": own} for vit, convnext, own in zip(*files.values(), strict=True)]
    models = [build_model(resolve_run("mini", {"fusion.name": "none", "tower_pairs": pairs, "seed": seed})) for seed in (0, 1)]
    same = {part: _alike(*(getattr(model, part) for model in models)) for part in ("language", "separator", "projector")}
    assert same == {"language": True, "separator": True, "projector": False}
    assert not _alike(*(model.encoder.vit for model in models))


def _alike(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_an_unknown_tower_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="choose vit or convnext"):
        towers.pretrain("vti", tmp_path)


def test_symbolic_pages_ask_for_what_they_show() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        page = symbolic_page(generator, MINI.data.seam, MINI.geometry)
        shown = [TRUTH_CLASSES[int(index)] for index in page.glyphs[:, 0]]
        for question, answer in page.asked:
            assert all(part in shown for part in (answer.split()[1:] if question == "layout?" else answer))
        assert (page.glyphs[:, 2] < page.canvas[0]).all()
        assert (page.glyphs[:, 3] < page.canvas[1]).all()


def test_symbolic_pages_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CHUNKS_A_WORKER", 1)
    alone, together = (symbolic_pages(MINI.data.seam, MINI.geometry, 2 * CHUNK, 5, workers) for workers in (1, 2))
    assert [page.asked for page in alone] == [page.asked for page in together]
    assert all(np.array_equal(a.glyphs, b.glyphs) for a, b in zip(alone, together, strict=True))


def test_recoloured_pages_still_answer_their_questions() -> None:
    generator = np.random.default_rng(0)
    colours = list(COLOURS)
    changed = 0
    for _ in range(200):
        page = symbolic_page(generator, MINI.data.seam, MINI.geometry)
        other = recoloured(page, generator)
        assert np.array_equal(page.glyphs[:, 2:], other.glyphs[:, 2:])
        changed += page.asked != other.asked
        for question, answer in other.asked:
            if question[:-1] in colours:
                own = other.glyphs[other.glyphs[:, 1] == colours.index(question[:-1])]
                assert [TRUTH_CLASSES[int(index)] for index in own[np.argsort(own[:, 2], kind="stable"), 0]] == list(answer)
    assert changed > 100


def test_errors_in_the_truth_are_as_frequent_as_the_recipe_says() -> None:
    generator = np.random.default_rng(0)
    pages = [page for page in (symbolic_page(generator, MINI.data.seam, MINI.geometry) for _ in range(900)) if page.canvas == (84, 84)]
    exact = page_truth(pages, MINI, AnswerRecipe(swapped=0, dropped=0), generator)
    wrong = page_truth(pages, MINI, AnswerRecipe(swapped=0.1, dropped=0.2), generator)
    letters = exact.view(*exact.shape[:2], 4, TRUTH)[..., :36], wrong.view(*wrong.shape[:2], 4, TRUTH)[..., :36]
    kept = float((letters[0] * letters[1]).sum() / letters[0].sum())
    assert 0.66 < kept < 0.76


@pytest.mark.slow
def test_answer_parts_fill_a_model_and_refuse_another_size(tmp_path: Path) -> None:
    recipe = AnswerRecipe(steps=4, pages=200, unseen=200, projector_steps=4, dense_pages=8, held_out_pages=4)
    pretrain_answers(tmp_path, recipe=recipe)
    path = str(tmp_path / "mini_answers.safetensors")
    before = file_sha256(tmp_path / "mini_answers.safetensors")
    pretrain_answers(tmp_path, start=path, recipe=recipe)
    assert file_sha256(tmp_path / "mini_answers.safetensors") != before
    assert "--start mini_answers.safetensors" in json.loads((tmp_path / "mini_answers.json").read_text(encoding="utf-8"))["command"]
    older = tmp_path / "older.safetensors"
    save_file({name: value for name, value in load_file(path).items() if not name.startswith("truth.")}, older)
    with pytest.raises(FilaError, match="no embedding of the truth"):
        pretrain_answers(tmp_path, start=str(older), recipe=recipe)
    first, second = (build_model(resolve_run("mini", {"fusion.name": "none", "language.weights": path, "seed": seed})) for seed in (0, 1))
    for part in ("language", "separator", "projector"):
        pairs = zip(getattr(first, part).parameters(), getattr(second, part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(FilaError, match=r"language\.weights.*does not fit"):
        build_model(resolve_run("mini", {"language.weights": path, "language.width": 48}))
    with pytest.raises(FilaError, match="fila-lab weights mini"):
        load_answer_parts(first.answer_parts, first.config.language, "package:absent")


def test_the_shipped_weights_match_their_cards_and_are_small() -> None:
    files = sorted(PACKAGE_WEIGHTS.glob("*.safetensors"))
    assert {path.stem for path in files} == {f"mini_{part}_{pair}" for part in ("vit", "convnext", "answers") for pair in range(3)}
    assert sum(path.stat().st_size for path in files) < 13_000_000
    for path in files:
        assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"] == file_sha256(path)
