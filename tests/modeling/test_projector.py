"""Projectors that make one token of several: which tokens become one, in which order, how many are left, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fila_lab.config import ConfigError, load_preset, resolve_run
from fila_lab.config.counts import llm_tokens
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.tiling import TileLayout
from fila_lab.cost.closed.parts import projector_cost
from fila_lab.modeling import build_model
from fila_lab.modeling.projector import build_projector, merge_visual, raster

KINDS = ("linear", "mlp2x_gelu", "pixel_shuffle", "average_pool")
MERGING = ("pixel_shuffle", "average_pool")


@pytest.mark.parametrize("kind", MERGING)
@pytest.mark.parametrize("side", [2, 3])
def test_squares_of_a_tile_become_one_token(kind: Any, side: int) -> None:
    """Against loops over tiles and squares: its tokens side by side or their mean; overview first, then the canvas's raster order."""
    grid, rows, cols, width = 6, 2, 3, 2
    tiles = torch.randn(2, 1 + rows * cols, grid, grid, width)
    layout, config = TileLayout.side_by_side(grid, rows, cols), ProjectorConfig(kind=kind, factor=side)
    merged = merge_visual(raster(tiles.flatten(2, 3), layout), layout, config)

    def square(image: int, tile: int, row: int, col: int) -> torch.Tensor:
        own = [tiles[image, tile, side * row + r, side * col + c] for r in range(side) for c in range(side)]
        return torch.cat(own) if kind == "pixel_shuffle" else torch.stack(own).mean(0)

    left = grid // side
    for image in range(2):
        wanted = [square(image, 0, row, col) for row in range(left) for col in range(left)]
        places = [divmod(place, cols * left) for place in range(rows * left * cols * left)]
        wanted += [square(image, 1 + row // left * cols + col // left, row % left, col % left) for row, col in places]
        torch.testing.assert_close(merged[image], torch.stack(wanted))


def test_pixel_shuffle_gathers_what_internvl_gathers() -> None:
    """transformers' own, of one tile: the same squares; within a token the channels stand in another fixed order, which weights learn."""
    from transformers.models.internvl.modeling_internvl import InternVLModel

    tile = torch.arange(4 * 4 * 3, dtype=torch.float32).view(1, 4, 4, 3)
    theirs = InternVLModel.pixel_shuffle(None, tile, scale_factor=0.5).flatten(1, 2)  # type: ignore[arg-type]
    layout = TileLayout.side_by_side(4, 0, 0)
    ours = merge_visual(tile.flatten(1, 2), layout, ProjectorConfig(kind="pixel_shuffle"))
    assert ours.shape == theirs.shape
    places = [ours[0, 0].tolist().index(value) for value in theirs[0, 0].tolist()]
    for own, other in zip(ours[0], theirs[0].tolist(), strict=True):
        assert own[places].tolist() == other


@torch.no_grad()
@pytest.mark.parametrize("handoff", ["none", "append"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_is_counted(kind: str, handoff: str, make_config, make_batch) -> None:
    """`g` is 3, so a factor of 3 leaves one token a tile; separators and the handoff's tokens follow; parameters are the closed form's."""
    config = make_config("concat")
    projector = ProjectorConfig(kind=kind, factor=3 if kind in MERGING else None)  # type: ignore[arg-type]
    fusion = config.fusion.model_copy(update={"handoff": handoff})
    config = config.model_copy(update={"projector": projector, "fusion": fusion})
    model = build_model(config).eval()
    batch, _ = make_batch(cols=2)
    tokens = (1 + 2 + 1 if kind in MERGING else 9 + 3 * 7) + (0 if handoff == "none" else 2 if kind in MERGING else 18)
    assert model.see(batch).shape[1] == llm_tokens((84, 42), config) == tokens
    parts = [model.projector, model.separator, *([] if model.handoff is None else [model.handoff])]
    assert sum(p.numel() for part in parts for p in part.parameters()) == projector_cost(config, (84, 42)).parameters


def test_internvls_projector_and_its_cost_at_the_size_of_paper() -> None:
    """LayerNorm and two layers over 4 x 1024 channels; 2,880 tokens of 2 x 2 tiles and overview become 720, and separators 24."""
    paper = resolve_run("paper", {"projector.kind": "pixel_shuffle"})
    own = build_projector(paper.projector, 1024, 4096)
    assert [type(layer).__name__ for layer in own] == ["LayerNorm", "Linear", "GELU", "Linear"]  # type: ignore[attr-defined]
    assert llm_tokens((672, 672), paper) == 5 * 576 // 4 + 24


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"projector.kind": "pixel_shuffle"}, r"projector.factor = 2 does not divide the 3 tokens of a tile's side; choose 3"),
        ({"projector.kind": "linear", "projector.factor": 2}, r"projector\.factor = 2 makes one token of several, which kind = linear"),
        ({"projector": {"kind": "average_pool", "factor": 3}, "geometry.tiling.overlap": 1}, "geometry.tiling.overlap = 1 a tile"),
        (
            {"projector": {"kind": "average_pool", "factor": 3}, "geometry.tiling.padding_tokens": "drop"},
            r"geometry.tiling.padding_tokens = 'drop'",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_run("mini", overrides)


def test_the_usual_projector_is_written_as_it_always_was() -> None:
    assert load_preset("mini").model_dump()["projector"] == {"kind": "mlp2x_gelu"}
