"""Every fusion trains on `mini`'s classes: a few real steps through the cell's own data, cache, module and trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import tiny

from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.training import run_cell

ARMS = [
    {"fusion__name": "mini_gemini", "fusion__depth": "after"},
    {"fusion__name": "bidirectional", "fusion__depth": [[3, 2], [3, 4], [4, 4]]},
    {"fusion__name": "cross_tile"},
    {"fusion__name": "none", "fusion__handoff": "append"},
    {"fusion__name": "none", "fusion__handoff": "replace"},
]
"""Each asks something else of the cell: where fusion stands, maps that are written to, no ConvNeXt, a longer sequence, no ViT."""
MORE = [
    {"fusion__name": "cross_attention_gated"},
    {"fusion__name": "cross_attention_tile"},
    {"fusion__name": "cross_attention_neighbours"},
    {"fusion__name": "llava_hr"},
    {"fusion__name": "slice_restore"},
    {"fusion__name": "slice_restore", "fusion__reach": "tile", "fusion__options": {"parts": "local"}},
    {"fusion__name": "shifted_window"},
    {"fusion__name": "shifted_window", "fusion__reach": "tile"},
    {"fusion__name": "tile_summary"},
    {"fusion__name": "tile_summary", "fusion__reach": "tile"},
    {"fusion__name": "cross_tile", "fusion__reach": "tile"},
    {"fusion__name": "cross_attention_neighbours", "fusion__reach": "tile"},
]


@pytest.mark.parametrize(
    "arm", [*ARMS, *(pytest.param(arm, marks=pytest.mark.slow) for arm in MORE)], ids=lambda arm: "-".join(map(str, arm.values()))
)
def test_a_short_training_runs_and_leaves_finite_losses(arm: dict, cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(**arm, train__steps=3, train__log_every=1, train__learning_rate=1e-2)
    outcome = run_cell(config, workdir=tmp_path, cache_dir=cache_dir, test=False)
    assert outcome.result["failure"] is None
    losses = [point["loss"] for point in outcome.result["curve"]]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    weights = outcome.provenance["weights"]
    assert ("convnext" in weights) == has_convnext(config)
    assert ("vit" in weights) == has_vit(config)
