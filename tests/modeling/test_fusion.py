"""The fusion contract, over the whole registry and over the factors."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from fila_lab.config.base import FilaError
from fila_lab.config.fusion import Aggregate
from fila_lab.config.strategies import FACTORS as FACTORISED
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import Fusion, FusionContext, FusionOutput, FusionSpec, available, create, register, window_side
from fila_lab.modeling.fusion import registry as registry_module

GRID, WIDTH, CHANNELS = 3, 16, 6
FACTORS = [{"aggregate": a, "combine": c, "gate": g} for a, c, g in product(get_args(Aggregate), ("concat", "add"), (True, False))]
CASES = [(name, {}) for name in available() if name != "none"] + [("concat", factors) for factors in FACTORS]
CASES += [("llava_hr", {"gate": False})]
IDS = [f"{name}-" + "-".join(str(v) for v in factors.values()) if factors else name for name, factors in CASES]
TILES = 5
"""Of an image: the overview, then a canvas of 2 x 2."""


def build(name: str, factors: dict, window: int, grid: int = GRID) -> tuple[Fusion, Tensor, Tensor, FusionContext]:
    torch.manual_seed(0)
    cells = grid * window
    fusion = create(name, token_width=WIDTH, detail_width=CHANNELS, grid=grid, cells=cells, hidden=12, heads=2, **factors)
    maps = DetailMaps([torch.randn(2, CHANNELS, 2 * cells, 2 * cells)], [cells], TileLayout.side_by_side(grid, 2, 2))
    return fusion, torch.randn(2 * TILES, grid**2, WIDTH), maps.tiles(1), maps.context(1)


def reached(fusion: Fusion, name: str, factors: dict, tile: int, row: int, column: int) -> Tensor:
    """bool [N, g*g]: the tokens that a cell in the window of token (row, column) of a tile may move."""
    moves = torch.zeros(2 * TILES, GRID, GRID, dtype=torch.bool)
    aggregate = factors.get("aggregate") or FACTORISED.get(name, ("",))[0]
    if aggregate == "attend_neighbours":
        around = moves[tile : tile + 1]  # the overview is its own neighbourhood, the canvas one across its tiles
        if tile % TILES:
            first = tile - tile % TILES + 1
            around = torch.zeros(1, 2 * GRID, 2 * GRID, dtype=torch.bool)
            row, column = row + (tile - first) // 2 * GRID, column + (tile - first) % 2 * GRID
        around[0, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
        if tile % TILES:
            moves[first : first + 4] = around.view(2, GRID, 2, GRID).transpose(1, 2).reshape(4, GRID, GRID)
    elif aggregate == "attend_tile" or name == "bidirectional" or (name == "llava_hr" and not fusion.local):
        moves[tile] = True
    elif fusion.reads != "nothing":
        assert fusion.local
        moves[tile, row, column] = True
    return moves.flatten(1)


def randomise(fusion: nn.Module, std: float = 0.5) -> None:
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=std)


@pytest.mark.parametrize("name", [*FACTORISED, "llava_hr"])
def test_every_gate_can_be_switched(name: str) -> None:
    widths = [{n for n, _ in build(name, {"gate": gate}, 2)[0].named_children()} for gate in (True, False)]
    assert widths[0] - widths[1] == {"gate"}


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize(("name", "factors"), CASES, ids=IDS)
class TestContract:
    def test_identity_through_exactly_one_zero_factor(self, name: str, factors: dict, window: int) -> None:
        fusion, tokens, detail, context = build(name, factors, window)
        out = fusion(tokens, detail, context)
        assert torch.equal(out.tokens, tokens)
        zero = {n.rpartition(".")[0] for n, p in fusion.named_parameters() if n.endswith("weight") and not p.any()}
        assert len(zero) == 1, f"weights that are zero at initialisation: {zero}"
        loss = (out.tokens * torch.randn_like(tokens)).sum()
        loss.backward()
        factor = fusion.get_submodule(zero.pop())
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in factor.parameters())

    @pytest.mark.parametrize("grid", [1, pytest.param(2, marks=pytest.mark.slow), GRID])
    def test_every_parameter_moves_within_three_steps(self, name: str, factors: dict, window: int, grid: int) -> None:
        """At one token a tile as well: what has no effect there (a choice among one key) is no parameter."""
        if name == "shifted_window" and grid == 1:
            pytest.skip("tiles of one token have no middle; refused, see test_reach.py")
        fusion, tokens, detail, context = build(name, factors, window, grid)
        before = {n: p.detach().clone() for n, p in fusion.named_parameters()}
        optimiser = torch.optim.AdamW(fusion.parameters(), lr=1e-2, weight_decay=0)
        target = torch.randn_like(tokens)
        for _ in range(3):
            optimiser.zero_grad()
            (fusion(tokens, detail, context).tokens - target).square().mean().backward()
            optimiser.step()
        for n, p in fusion.named_parameters():
            assert (p != before[n]).float().mean() > 0.9, n

    def test_a_token_depends_on_the_cells_it_should_and_on_no_other(self, name: str, factors: dict, window: int) -> None:
        fusion, tokens, detail, context = build(name, factors, window)
        randomise(fusion, 0.5 if fusion.local else 0.2)
        before = fusion(tokens, detail, context).tokens
        for tile, y, x in ((0, 0, 0), (2, 2 * window, window), (9, 3 * window - 1, 3 * window - 1), (6, 2 * window, 2 * window)):
            changed = detail.clone()
            changed[tile, :, y, x] += torch.randn(CHANNELS) * 3
            moved = (fusion(tokens, changed, context).tokens - before).abs().amax(-1)
            expected = reached(fusion, name, factors, tile, y // window, x // window)
            assert not expected.any() or moved[expected].min() > (1e-4 if fusion.local else 0)
            assert moved[~expected].max() < 1e-5


def test_none_gives_the_tokens_back_and_has_no_parameters() -> None:
    fusion, tokens, detail, context = build("none", {}, 2)
    assert fusion(tokens, detail, context).tokens is tokens
    assert not list(fusion.parameters())


def test_folded_attention_equals_attention_over_projected_cells() -> None:
    """Oracle: scale every cell, add its place, project to keys and values, and call the library's attention."""
    fusion, tokens, detail, context = build("cross_attention", {}, 2)
    randomise(fusion)
    attend = fusion.aggregate
    cells = context.windows(detail)
    cells = cells * (cells.square().mean(-1, keepdim=True) + 1e-6).rsqrt() + attend.position
    query = attend.query(nn.functional.layer_norm(tokens, (WIDTH,))).unflatten(-1, (2, 6)).unsqueeze(3)  # [N, T, heads, 1, 6]
    key, value = (x.unflatten(-1, (2, 6)).transpose(2, 3) for x in (attend.key(cells), attend.value(cells)))
    oracle = nn.functional.scaled_dot_product_attention(query, key, value).flatten(2)
    torch.testing.assert_close(attend(tokens, detail, context), oracle, rtol=1e-4, atol=1e-5)


def test_windows_and_pooled_agree_with_indexing() -> None:
    _, _, detail, context = build("concat", {}, 2)
    windows = context.windows(detail)
    assert windows.shape == (10, 9, 4, CHANNELS)
    assert torch.equal(windows[4, 5, 2], detail[4, :, 3, 4])  # token (1, 2), cell (1, 0) of its window
    torch.testing.assert_close(context.pooled(detail), windows.mean(2))


def test_context_names_each_tile() -> None:
    context = DetailMaps([torch.randn(2, 1, 6, 9)], [3], TileLayout.side_by_side(GRID, 2, 3)).context(1)
    assert context.image.tolist() == [0] * 7 + [1] * 7
    assert context.row.tolist() == [-1, 0, 0, 0, 1, 1, 1] * 2
    assert context.col.tolist() == [-1, 0, 1, 2, 0, 1, 2] * 2


@pytest.mark.parametrize(("cells", "side"), [(24, 8), (3, 1), (2, 1), (16, 5), (32, 11), (1, 1)])
def test_window_side(cells: int, side: int) -> None:
    assert window_side(cells, 3) == side


def test_unknown_and_impossible_fusions_are_named() -> None:
    widths = {"token_width": 8, "detail_width": 4, "grid": 3, "cells": 6}
    with pytest.raises(FilaError, match=r"fusion.name='conkat' is unknown \(did you mean 'concat'\?\)"):
        create("conkat", **widths)
    with pytest.raises(FilaError, match=r"fusion.heads=3 does not divide the hidden width 8"):
        create("cross_attention", heads=3, **widths)
    with pytest.raises(FilaError, match=r"has no meaning with fusion.name='none'"):
        create("none", gate=True, **widths)


class Doubling(Fusion):
    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        return FusionOutput(2 * tokens)


class Point:
    """An entry point of another package."""

    name, value = "doubling", "elsewhere:Doubling"

    def __init__(self, loads: bool) -> None:
        self.loads = loads

    def load(self) -> type[Fusion]:
        if not self.loads:
            raise ImportError("no module named elsewhere")
        return Doubling


def test_other_packages_add_strategies_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_FACTORIES", dict(registry_module._FACTORIES))
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [Point(loads=False)])
    assert "doubling" in available()
    with pytest.raises(FilaError, match=r"'elsewhere:Doubling' does not load"):
        create("doubling", token_width=8, detail_width=4, grid=3, cells=6)
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [Point(loads=True)])
    assert isinstance(create("doubling", token_width=8, detail_width=4, grid=3, cells=6), Doubling)
    with pytest.raises(FilaError, match="registered twice"):
        register("concat")(Doubling)
