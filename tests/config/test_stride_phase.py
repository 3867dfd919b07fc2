"""Which arms are told that their seam gaps are of the ConvNeXt stride's phase too: by kind, and with a remedy that works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fila_lab.config import resolve_run
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.stride_phase import NAMED, phase_kept, phase_note
from fila_lab.data.seam.places import Axis, cut_tables

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
SQUARE = {"geometry.canvases": [[84, 84]]}
ONE_TILE = {"geometry.tiling.canvases": [[42, 42]]}
WIDER = {"geometry.tiling.canvases": [[126, 84]]}
PX = 3
"""Page px a patch, where blocks are drawn by hand."""
NINE_TILES = {"geometry.tiling.canvases": [[84, 126], [126, 84], [126, 126]]}


def run_of(preset: str = "mini", **fields: Any) -> RunConfig:
    return resolve_run(preset, RANDOM | {path.replace("__", "."): value for path, value in fields.items()})


def at(cells: int, preset: str = "mini", **fields: Any) -> RunConfig:
    return run_of(preset, geometry__detail_cells=cells, **fields)


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("mini", {1: "none", 2: "none", 3: "all", 4: "none", 6: "all", 8: "none"}),
        ("paper", {5: "none", 16: "some", 24: "all", 32: "some", 48: "all"}),
        ("base", {7: "some", 14: "all", 28: "all"}),
    ],
)
def test_the_phase_is_kept_at_native_detail_cells_and_their_multiples(preset: str, wanted: dict[int, str]) -> None:
    assert {cells: phase_kept(at(cells, preset)) for cells in wanted} == wanted


def test_longer_steps_keep_the_phase() -> None:
    for cells in (16, 32):
        assert phase_kept(at(cells, "paper", data__seam__stride_cells=[16, 32])) == "all"
    assert phase_kept(at(16, "paper", data__seam__stride_cells=[12])) == "some", "steps for other cells do not"


@pytest.mark.parametrize(
    "fields",
    [
        {"fusion.name": "none"},
        {"fusion.name": "cross_tile"},
        {"fusion.control": "oracle_map"},
        {"fusion.control": "foreign"},
        {"fusion.control": "constant"},
        {"data.evaluate": {"entity_grid": {"suite": "entity_grid"}}},
    ],
    ids=str,
)
def test_an_arm_without_a_convnext_that_shows_it_the_target_has_no_phase(fields: dict[str, Any]) -> None:
    run = at(2, **fields)
    assert phase_kept(run) is None
    assert phase_note({"arm": run}) == ""


def test_a_convnext_is_looked_at_by_controls_and_by_the_handoff_too() -> None:
    for fields in (
        {"fusion.control": "random_weights"},
        {"fusion.control": "shuffled"},
        {"fusion.name": "none", "fusion.handoff": "append"},
    ):
        assert phase_kept(at(2, **fields)) == "none"


@pytest.mark.parametrize(
    ("fields", "cells", "wanted"),
    [
        (ONE_TILE, 6, "all"),  # two patches of a page of two tiles are one of the tile that shows it, two strides
        (ONE_TILE, 8, "none"),  # and here 8/3
        (NINE_TILES, 1, "all"),  # two of a page's six patches are a tile of the three
        (NINE_TILES, 2, "all"),
        (SQUARE | WIDER, 1, "none"),  # the page fills two of three tiles across, and has its own size there
        (SQUARE | WIDER, 3, "all"),
        ({"geometry.canvases": [[42, 84]]}, 2, "none"),
    ],
    ids=str,
)
def test_the_detail_input_is_that_of_the_canvas_a_page_is_seen_on(fields: dict[str, Any], cells: int, wanted: str) -> None:
    assert phase_kept(at(cells, **fields)) == wanted


def test_a_detail_input_of_one_size_has_a_phase_as_well() -> None:
    kept = {side: phase_kept(run_of(**SQUARE, geometry__whole_image=side)) for side in (64, 128, 192)}
    assert kept == {64: "none", 128: "none", 192: "all"}, "two of a page's six patches are 2/3, 4/3 and 2 strides"
    wider = {"geometry.tile": 56, "geometry.canvases": [[112, 112]]}
    assert phase_kept(run_of(**wider, geometry__whole_image=64)) == "none", "two of eight patches are half a stride of the two there are"
    note = phase_note({"a": run_of(**SQUARE, geometry__whole_image=64)})
    assert note.startswith("cut and sham places of a (whole_image = 64) never share")


def along(tiles: int, grid: int, cells: int) -> RunConfig:
    """A run on canvases of one row of tiles."""
    geometry = GeometryConfig(tile=14 * grid, patch=14, canvases=((14 * grid * tiles, 14 * grid),), detail_cells=cells)
    return run_of().model_copy(update={"geometry": geometry})


def test_what_is_said_of_all_or_none_holds_for_targets_of_every_size() -> None:
    """Displacements of blocks of every width, where every px of them may be cut, against the closed form."""
    realised = 0
    for tiles, grid in ((2, 3), (3, 3), (2, 4), (2, 6), (3, 4), (3, 5), (4, 3), (5, 4)):
        axis = Axis(tiles, grid, PX)
        moves = set()
        for width in range(2, axis.tile + 1):
            for table in cut_tables(axis, np.ones(width)):
                moves |= {
                    abs(sham - start) // PX for start, shams in zip(table.start, table.sham, strict=True) for sham in shams if sham >= 0
                }
        for cells in range(1, 2 * grid + 1):
            shared = {move * cells % grid == 0 for move in moves}
            said = phase_kept(along(tiles, grid, cells))
            assert shared <= {"all": {True}, "none": {False}, "some": {True, False}}[str(said)] if moves else said is None
            assert (said == "all") == (shared == {True})
            realised += said == "some" and shared == {True, False}
    assert realised, "a grid with moves of both kinds is among them"


def test_the_note_names_arms_and_a_remedy_that_works() -> None:
    runs = {f"k{cells}": at(cells, "paper") for cells in (16, 24, 32)} | {"none": at(24, "paper", fusion__name="none")}
    note = phase_note(runs)
    assert "cut and sham places of k16, k32 (k = 16, 32) share the phase of the ConvNeXt's stride only on some pages or for some" in note
    assert note.endswith("; data.seam.stride_cells: [16, 32], for all arms, keeps it")
    together = phase_note({"k16": at(16, "paper"), "k30": at(30, "paper")})
    assert together.endswith("; data.seam.stride_cells: [16, 30], for all arms, keeps it"), "steps for the one do not keep the other's"
    asked = phase_note({"k16": at(16, "paper", data__seam__stride_cells=[12])})
    assert asked.endswith("; data.seam.stride_cells: [12, 16], for all arms, keeps it"), "what is asked for already stays"
    mended = {"data.seam.stride_cells": [16, 32]}
    assert phase_note({f"k{cells}": at(cells, "paper", **mended) for cells in (16, 24, 32)}) == ""


def test_the_note_says_where_there_is_no_remedy() -> None:
    note = phase_note({"k2": at(2), "k3": at(3), "k4": at(4)})
    assert "places of k2, k4 (k = 2, 4) never share" in note
    assert note.endswith("; no canvas has room for data.seam.stride_cells: [2, 4]")
    assert phase_note({"k3": at(3), "k6": at(6)}) == ""
    both = phase_note({"k5": at(5, "paper"), "k16": at(16, "paper")})
    assert "of k5 (k = 5) never share the phase of the ConvNeXt's stride, those of k16 (k = 16) only on some pages" in both


def test_the_note_says_which_canvases_a_remedy_leaves() -> None:
    """Along two tiles a step of 14 patches ends on a seam again; along three one of 21 does not."""
    canvases = {"geometry.canvases": [[448, 224], [672, 224]]}
    note = phase_note({"k4": at(4, "base", **canvases)})
    assert note.endswith("; data.seam.stride_cells: [4], for all arms, keeps it, which 1 of 2 canvases have room for")


def test_steps_for_the_pages_canvas_can_fail_on_the_one_it_is_seen_on() -> None:
    """At k = 7 two patches of a page of 28 are a stride of its own detail input, half a one of that of a single tile."""
    tiling = {"geometry.canvases": [[448, 224]], "geometry.tiling.canvases": [[224, 224]]}
    assert phase_kept(at(7, "base", **{"geometry.canvases": [[448, 224]]})) == "all"
    assert phase_note({"one": at(7, "base", **tiling)}).endswith("; data.seam.stride_cells: [7] would not keep it")


def test_of_many_arms_some_are_named() -> None:
    note = phase_note({f"arm{i}": at(2) for i in range(NAMED + 3)})
    assert f"arm{NAMED - 1}, 3 more (k = 2)" in note
    assert f"arm{NAMED}," not in note
