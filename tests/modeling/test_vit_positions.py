"""Positional embeddings are resampled as open_clip resamples them, and only when asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from open_clip.model import resize_pos_embed
from published import SMALL_VISION, open_clip_vit

from fila_lab.config import ConfigError, FilaError, resolve_run
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.modeling import build_vit
from fila_lab.modeling.positions import resampled


@pytest.mark.parametrize("grid", [2, 5, 16, 24])
def test_as_open_clip_resizes_them(grid: int) -> None:
    positions = torch.randn(1 + 14 * 14, 8)
    state = {"visual.positional_embedding": positions}
    resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=(grid, grid))))
    torch.testing.assert_close(resampled(positions, grid), state["visual.positional_embedding"], rtol=0, atol=1e-6)


def test_the_same_grid_stays_bit_for_bit_and_no_square_is_resampled() -> None:
    positions = torch.randn(10, 8)
    assert torch.equal(resampled(positions, 3), positions)
    assert len(resampled(torch.randn(9, 8), 3)) == 9


def test_only_when_asked(tmp_path: Path) -> None:
    published = open_clip_vit("folder", tmp_path, SMALL_VISION, quick=False)
    wider = {"vit.weights": published.weights, "geometry.tile": 70, "geometry.canvases": [[140, 140]]}
    wider |= {"fusion.name": "none", "language.weights": "random"}
    config = resolve_run("mini", wider)
    with pytest.raises(ConfigError, match=r"has shape \[10, 32\], the configuration says \[26, 32\].*vit\.positions=interpolate"):
        check_checkpoints(config)
    with pytest.raises(FilaError, match=r"vit\.positions=interpolate"):
        build_vit(config)
    asked = resolve_run("mini", wider, {"vit.positions": "interpolate"})
    check_checkpoints(asked)
    tower = build_vit(asked)
    own = open_clip_vit("folder", tmp_path, SMALL_VISION, quick=False)
    assert tower.trunk.positional_embedding.shape == (26, 32)
    assert own.weights == published.weights
