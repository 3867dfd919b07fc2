"""The probe of a trained cell: it sees what the fusion did, changes nothing, and switching off is the identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import tiny

from fila_lab.config import FilaError
from fila_lab.config.geometry import SecondGridConfig
from fila_lab.data.seam import SeamSuite
from fila_lab.modeling import FilaModel, build_model
from fila_lab.training import probe, run_cell
from fila_lab.training.batches import Collator
from fila_lab.training.data import open_data
from fila_lab.training.features import cached_features
from fila_lab.training.probe import look, probe_cell, switch_off, trained_cell, watched
from fila_lab.training.trained import load_trained

CONFIG = tiny(fusion__name="concat", train__learning_rate=2e-2, runtime__precision="fp32")


@pytest.fixture(scope="module")
def cell(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """(folder, test predictions) of a trained tiny cell."""
    folder = tmp_path_factory.mktemp("probed")
    outcome = run_cell(CONFIG, workdir=folder / "work", cache_dir=cache_dir, checkpoint=folder / "model.safetensors")
    assert outcome.result["failure"] is None
    assert outcome.predictions is not None
    return folder, outcome.predictions


@pytest.fixture
def model(cell: tuple[Path, pd.DataFrame]) -> FilaModel:
    return load_trained(cell[0]).eval()


def collator(model: FilaModel, cache_dir: Path, split: str) -> Collator:
    (pool,) = open_data(model.config, cache_dir, (split,)).values()
    return Collator(model.config, pool, cached_features(model.config, pool, cache_dir), model.tokenizer)


def test_a_probe_gives_tidy_frames_and_agrees_with_the_cell(cell: tuple[Path, pd.DataFrame], cache_dir: Path) -> None:
    folder, predictions = cell
    frames = probe_cell(folder, cache_dir, items=100)
    tokens, alignment, attribution = (frames[name] for name in ("tokens", "alignment", "attribution"))
    pairs = {(1, 1), (2, 2), (3, 3), (4, 5)}
    assert set(zip(tokens["stage"], tokens["layer"], strict=True)) == pairs
    assert tokens["item_id"].nunique() == CONFIG.data.val_items
    assert not tokens.duplicated(["item_id", "stage", "row", "col"]).any()
    np.testing.assert_allclose(tokens["injection"], tokens["change_norm"] / tokens["token_norm"])
    assert (tokens["injection"] > 0).all()
    assert tokens["gate"].between(0, 1).all()
    assert set(zip(alignment["tokens"], alignment["features"], strict=True)) == {
        (m, f) for m in ("before", "after") for f in ("trained", "random")
    }
    assert alignment["item_id"].nunique() == CONFIG.data.val_items - CONFIG.data.val_items // 2
    assert list(dict.fromkeys(attribution["off"])) == ["nothing", "1->1", "2->2", "3->3", "4->5", "everything"]
    whole = attribution[attribution["off"] == "nothing"].set_index(["item_id", "place"])["correct"]
    assert whole.to_dict() == predictions.set_index(["item_id", "place"])["correct"].to_dict()
    positions = frames["positions"].set_index(["item_id", "place"])
    assert positions["correct"].to_dict() == whole.to_dict()
    suite = SeamSuite(CONFIG.data.seam, CONFIG.geometry)
    item = suite.item("test", 0, "sham")
    assert tuple(positions.loc[(item.item_id, "sham"), ["target_x", "target_y"]]) == pytest.approx(item.centre)


def test_switching_off_is_a_fusion_that_adds_nothing(model: FilaModel, cache_dir: Path) -> None:
    batch = collator(model, cache_dir, "val")
    rows = np.flatnonzero(batch.pool.canvases == batch.pool.canvases[0])[:4]
    vision = batch(rows, training=False).vision
    pairs = model.encoder.fusion_points
    with torch.no_grad():
        plain = model.see(vision)
        with watched(model.encoder, off=pairs[1:2]):
            silent = model.see(vision)
        with watched(model.encoder):
            assert torch.equal(model.see(vision), plain)
        assert torch.equal(model.see(vision), plain)  # and nothing stays behind
        out = model.encoder.fusions[str(pairs[1][1])].out
        torch.nn.init.zeros_(out.weight)
        torch.nn.init.zeros_(out.bias)
        assert torch.equal(model.see(vision), silent)
    assert not torch.equal(silent, plain)


def test_everything_off_leaves_what_no_detail_map_can_change(model: FilaModel, cache_dir: Path) -> None:
    frame = switch_off(model, collator(model, cache_dir, "val"), np.arange(12))
    for fusion in model.encoder.fusions.values():
        torch.nn.init.zeros_(fusion.out.weight)
        torch.nn.init.zeros_(fusion.out.bias)
    silent = switch_off(model, collator(model, cache_dir, "val"), np.arange(12))
    off = frame[frame["off"] == "everything"]["correct"].tolist()
    assert silent[silent["off"] == "nothing"]["correct"].tolist() == off


def test_a_fusion_that_changes_nothing_has_no_injection_and_leaves_alignment_as_it_was(model: FilaModel, cache_dir: Path) -> None:
    for fusion in model.encoder.fusions.values():
        torch.nn.init.zeros_(fusion.out.weight)
        torch.nn.init.zeros_(fusion.out.bias)
    tokens, alignment = look(model, collator(model, cache_dir, "val"), np.arange(8))
    assert (tokens["injection"] == 0).all()
    before, after = (alignment[alignment["tokens"] == moment]["hit_tile"].tolist() for moment in ("before", "after"))
    assert before == after


def test_a_strategy_without_a_gate_has_none(cache_dir: Path) -> None:
    model = build_model(tiny(fusion__name="addition", runtime__precision="fp32")).eval()
    tokens, _ = look(model, collator(model, cache_dir, "val"), np.arange(4))
    assert tokens["gate"].isna().all()


def test_a_trained_cell_is_not_trained_again(
    cell: tuple[Path, pd.DataFrame], cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(probe, "run_cell", refuse)
    assert trained_cell(CONFIG, cell[0], cache_dir) == cell[0]
    with pytest.raises(AssertionError):
        trained_cell(CONFIG.model_copy(update={"seed": 1}), cell[0], cache_dir)


def test_what_has_no_fusion_to_look_at_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    folder = trained_cell(tiny(fusion__name="none", train__steps=1), tmp_path / "cell", cache_dir)
    with pytest.raises(FilaError, match="no fusion to look at; choose a cell of another arm"):
        probe_cell(folder, cache_dir)
    with pytest.raises(FilaError, match=r"could not be trained \(bad_input\): .*vit.weights"):
        trained_cell(tiny(vit__weights="nowhere.safetensors"), tmp_path / "other", cache_dir)


@pytest.mark.parametrize("own", [{"overlap": 1}, {"perspective": "both"}, {"second": SecondGridConfig()}])
def test_other_tiles_than_one_grid_side_by_side_are_refused(
    own: dict[str, object], cell: tuple[Path, pd.DataFrame], cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_trained(cell[0])
    geometry = model.config.geometry
    tiling = geometry.tiling.model_copy(update=own)
    model.config = model.config.model_copy(update={"geometry": geometry.model_copy(update={"tiling": tiling})})
    monkeypatch.setattr(probe, "load_trained", lambda _: model)
    with pytest.raises(FilaError, match=rf"geometry\.tiling\.{next(iter(own))} is set, .* choose a cell without"):
        probe_cell(cell[0], cache_dir)
