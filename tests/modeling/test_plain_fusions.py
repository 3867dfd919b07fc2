"""The formulas this laboratory compares: each fusion against an independent statement of it, in float64, at random weights."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from plain_fusions import Scene, bidirectional, factorised, llava_hr, mini_gemini
from plain_rivals import shifted_window, slice_restore, tile_summary

from fila_lab.config.fusion import Aggregate
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import available, create

GRID, WIDTH, HIDDEN, HEADS, IMAGES = 3, 8, 12, 2, 2
CHANNELS = (6, 5)
"""Of the stage, and of the coarser one above it."""

NAMED = {
    "concat": factorised("pool", "concat", True),
    "concat_ungated": factorised("pool", "concat", False),
    "addition": factorised("pool", "add", False),
    "addition_gated": factorised("pool", "add", True),
    "cross_attention": factorised("attend", "add", False),
    "cross_attention_gated": factorised("attend", "add", True),
    "cross_attention_tile": factorised("attend_tile", "add", False),
    "cross_attention_neighbours": factorised("attend_neighbours", "add", False),
    "cross_tile": factorised("attend_tokens", "add", False),
    "llava_hr": llava_hr(True),
    "mini_gemini": mini_gemini,
    "bidirectional": bidirectional,
    "slice_restore": slice_restore(),
    "shifted_window": shifted_window(),
    "tile_summary": tile_summary(),
}
CASES = [(name, {}, plain) for name, plain in NAMED.items()] + [("llava_hr", {"gate": False}, llava_hr(False))]
CASES += [
    ("concat", {"aggregate": a, "combine": c, "gate": g}, factorised(a, c, g))
    for a, c, g in product(get_args(Aggregate), ("concat", "add"), (True, False))
]
CASES += [
    ("slice_restore", {"options": {"parts": "local"}}, slice_restore("local")),
    ("slice_restore", {"options": {"parts": "pooled", "pooled": 1}}, slice_restore("pooled", 1)),
]
TWINS = {
    "cross_attention_neighbours": factorised("attend_neighbours_alone", "add", False),
    "cross_tile": factorised("attend_tokens_alone", "add", False),
    "slice_restore": slice_restore(reach="tile"),
    "shifted_window": shifted_window(reach="tile"),
    "tile_summary": tile_summary(reach="tile"),
}
CASES += [(name, {"reach": "tile"}, plain) for name, plain in TWINS.items()]
IDS = ["-".join([name, *(str(value) for value in factors.values())]) for name, factors, _ in CASES]


def test_every_strategy_is_stated() -> None:
    assert {*NAMED, "none"} == set(available())


@pytest.mark.parametrize(("window", "canvas"), [(1, (2, 2)), (2, (1, 3)), (3, (2, 1))], ids=["one-cell", "four-cells", "nine-cells"])
@pytest.mark.parametrize(("name", "factors", "plain"), CASES, ids=IDS)
def test_a_fusion_is_what_its_docstring_says(name: str, factors: dict, plain, window: int, canvas: tuple[int, int]) -> None:
    torch.manual_seed(sum(map(ord, name)) + window)
    rows, cols = canvas
    cells = [GRID * window, GRID]  # per tile side, of the stage and of the coarser one
    fusion = create(
        name, token_width=WIDTH, detail_width=CHANNELS[0], grid=GRID, cells=cells[0], hidden=HIDDEN, heads=HEADS,
        coarser=((CHANNELS[1], cells[1]),), **factors,
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=0.5)
    whole = [
        torch.randn(IMAGES, c, rows * side, cols * side, dtype=torch.float64) * 2 + 0.3 for c, side in zip(CHANNELS, cells, strict=True)
    ]
    maps = DetailMaps(whole, cells, TileLayout.side_by_side(GRID, rows, cols))
    tokens = torch.randn(IMAGES * (1 + rows * cols), GRID**2, WIDTH, dtype=torch.float64) * 3 + 1
    scene = Scene(tokens.numpy(), [split(m.numpy(), rows, cols) for m in whole], GRID, rows, cols)
    weights = {key: value.numpy() for key, value in fusion.state_dict().items()}
    expected, changed = plain(scene, weights, HEADS)
    with torch.no_grad():
        outputs = [fusion(tokens, maps.read(reads, 1, torch.float64), maps.context(1)) for reads in dict.fromkeys((fusion.reads, "cells"))]
    for output in outputs:
        np.testing.assert_allclose(output.tokens.numpy(), expected, rtol=0, atol=1e-6)
        assert np.abs(expected - scene.tokens).min(axis=-1).max() > 1e-3, "every token was moved"
        assert (output.detail is None) == (changed is None)
        if changed is not None:
            np.testing.assert_allclose(output.detail.numpy(), changed, rtol=0, atol=1e-6)


def split(whole: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """[B, C, rows*s, cols*s] -> [B * (1 + rows*cols), C, s, s]: the overview, each cell a mean of rows x cols cells, then the tiles."""
    images, channels, height, _ = whole.shape
    s = height // rows
    tiles = np.empty((images, 1 + rows * cols, channels, s, s))
    for image, y, x in np.ndindex(images, s, s):
        tiles[image, 0, :, y, x] = whole[image, :, y * rows : (y + 1) * rows, x * cols : (x + 1) * cols].mean((1, 2))
        for row, col in np.ndindex(rows, cols):
            tiles[image, 1 + row * cols + col, :, y, x] = whole[image, :, row * s + y, col * s + x]
    return tiles.reshape(-1, channels, s, s)
