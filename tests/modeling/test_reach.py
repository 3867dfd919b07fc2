"""Reach: which strategies look across a seam, and that their twins do not, token by token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config.base import FilaError
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.fusion_options import OPTIONS
from fila_lab.config.strategies import WITHOUT_MAP, looks_across
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import build_model
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import available, create

GRID, WIDTH, CHANNELS, CELLS = 4, 8, 3, 8
ACROSS = [name for name in available() if looks_across(FusionConfig(name=name))]
CASES = [(name, {}) for name in available()]
CASES += [("concat", {"aggregate": "attend_tokens"}), ("addition", {"aggregate": "attend_neighbours"})]
CASES += [("slice_restore", {"options": {"parts": parts}}) for parts in ("local", "pooled")]
CASES += [("shifted_window", {"options": {"placement": "textmonkey"}}), ("tile_summary", {"options": {"summaries": 1}})]
IDS = ["-".join([name, *(str(value) for value in fields.values())]) for name, fields in CASES]


def moved(name: str, fields: dict, reach: str) -> torch.Tensor:
    """bool [changed tile, tile]: whose tokens move when tokens and map of one of an image's ten tiles, the overview first, are changed."""
    torch.manual_seed(0)
    coarser = ((5, GRID),)
    fusion = create(
        name, token_width=WIDTH, detail_width=CHANNELS, grid=GRID, cells=CELLS, hidden=8, heads=2, coarser=coarser, reach=reach, **fields
    ).double()  # fmt: skip
    maps = DetailMaps(
        [torch.randn(1, c, 3 * n, 3 * n, dtype=torch.float64) for c, n in ((CHANNELS, CELLS), (5, GRID))],
        [CELLS, GRID],
        TileLayout.side_by_side(GRID, 3, 3),
    )
    tokens, detail, context = torch.randn(10, GRID**2, WIDTH, dtype=torch.float64), maps.tiles(1), maps.context(1)
    found = []
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=0.3)
        before = fusion(tokens, detail, context).tokens
        for tile in range(10):
            other, other_detail = tokens.clone(), detail.clone()
            other[tile] += torch.randn(GRID**2, WIDTH)
            other_detail[tile] += torch.randn_like(detail[tile])
            after = fusion(other, other_detail, context).tokens
            found.append((after - before).abs().amax((1, 2)) > 0)
    return torch.stack(found)


@pytest.mark.parametrize(("name", "fields"), CASES, ids=IDS)
def test_a_tile_moves_others_where_the_strategy_has_a_reach_and_its_twin_none(name: str, fields: dict) -> None:
    """Not by a rounding error: other tiles' tokens are the same to the last bit."""
    across = looks_across(FusionConfig(name=name, **{key: value for key, value in fields.items() if key == "aggregate"}))
    own = torch.eye(10, dtype=torch.bool)
    if across:
        canvas = moved(name, fields, "canvas")
        assert (canvas[1:, 1:] & ~own[1:, 1:]).any(1).all(), "every tile reaches another one"
        assert not canvas[0, 1:].any(), "no tile reads the overview"
    assert torch.equal(moved(name, fields, "tile" if across else "canvas"), own)


def test_planning_and_strategies_agree_on_who_has_a_reach_and_options() -> None:
    for name in available():
        fusion = create(name, token_width=8, detail_width=4, grid=2, cells=2)
        assert fusion.reaches == looks_across(FusionConfig(name=name)), name
        assert type(fusion).options is OPTIONS.get(name), name
        assert (fusion.reads == "nothing") == (name in (*WITHOUT_MAP, "cross_tile")), name


@pytest.mark.parametrize("name", ACROSS)
def test_a_twin_has_the_same_parameters_and_the_same_start(name: str) -> None:
    both = []
    for reach in ("canvas", "tile"):
        torch.manual_seed(0)
        both.append(create(name, token_width=WIDTH, detail_width=CHANNELS, grid=GRID, cells=CELLS, reach=reach).state_dict())
    assert all(torch.equal(value, both[1][key]) for key, value in both[0].items())
    assert both[0].keys() == both[1].keys()


@pytest.mark.parametrize("name", [*WITHOUT_MAP, "cross_tile"])
def test_pixels_of_a_tile_move_its_own_visual_tokens_alone(make_config, make_batch, name: str) -> None:
    """Through all fusion points and the ViT between them."""
    batch, _ = make_batch(images=1)
    pixels = batch.tiles.clone()
    pixels[:, 1] = 255 - pixels[:, 1]
    for reach in ("canvas", "tile"):
        encoder = build_model(make_config(name, reach=reach)).encoder.double().eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in encoder.fusions.parameters():
                parameter.normal_(std=0.3)
            change = (encoder(replace(batch, tiles=pixels)) - encoder(batch)).abs().amax(-1)[0]
        overview, left, right = change[:9], change[9:].view(3, 6)[:, :3], change[9:].view(3, 6)[:, 3:]
        assert right.min() > 0
        assert left.any() == (reach == "canvas")
        assert reach == "canvas" or not overview.any()


def test_what_a_strategy_does_not_have_is_refused() -> None:
    widths = {"token_width": 8, "detail_width": 4, "grid": 2, "cells": 2}
    for name, fields, words in (
        ("bidirectional", {"reach": "tile"}, r"fusion.reach='tile' has no meaning with fusion.name='bidirectional'"),
        ("concat", {"options": {"parts": "local"}}, r"fusion.options=.* has no meaning with fusion.name='concat'"),
        ("slice_restore", {"options": {"part": "local"}}, r"unknown key 'part' \(did you mean 'parts'\?\)"),
        ("slice_restore", {"options": {"pooled": 3}}, r"fusion.options.pooled = 3 is more than the 2 tokens"),
        ("shifted_window", {"options": {"window": 4}}, r"fusion.options.window = 4 is wider than a tile of 2 tokens"),
        ("shifted_window", {"grid": 1}, r"fusion.options: tiles of one token"),
        ("tile_summary", {"heads": 3}, r"fusion.heads=3 does not divide"),
    ):
        with pytest.raises(FilaError, match=words):
            create(name, **{**widths, **fields})
