"""What the closed form says of the ConvNeXt stride's phase, item by item: where cut and sham lie on the detail input."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fila_lab.config import resolve_run
from fila_lab.config.run import RunConfig
from fila_lab.config.stride_phase import phase_kept
from fila_lab.data.seam import SeamSuite
from fila_lab.imaging import Geometry

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
SQUARE = {"geometry.canvases": [[84, 84]]}
MINI: tuple[dict[str, Any], ...] = (
    *({"geometry.detail_cells": cells} for cells in (1, 2, 3, 4, 6)),
    *({"geometry.tiling.canvases": [[42, 42]], "geometry.detail_cells": cells} for cells in (6, 8)),
    *({"geometry.tiling.canvases": [[84, 126], [126, 84], [126, 126]], "geometry.detail_cells": cells} for cells in (1, 2)),
    {"geometry.tiling.canvases": [[126, 126]], "geometry.tiling.fit": "stretch", "geometry.detail_cells": 5},
)
WHOLE: tuple[dict[str, Any], ...] = tuple({"geometry.whole_image": side} for side in (64, 128, 192))
PAPER: tuple[dict[str, Any], ...] = tuple({"geometry.detail_cells": cells} for cells in (5, 16, 24, 32, 48))


def stride_place(geometry: Geometry, at: int, axis: int) -> Fraction:
    """Where in its stride of the detail input a page px of an axis lies, as a share of it."""
    on_canvas = geometry.offset[axis] + Fraction(at * geometry.resized[axis], geometry.image_size[axis])
    return on_canvas * Fraction(geometry.detail_size[axis], geometry.canvas[axis] * 32) % 1


def shared(run: RunConfig, suite: SeamSuite, boxes: list[Any]) -> set[bool]:
    """Whether the triplets of `boxes` share the phase along the axis of their cut: all, none or some of them."""
    found = set()
    for index, triplet in enumerate(boxes):
        x, y = suite.axes(suite.heading("test", index)[1])
        geometry = Geometry.of(x.length, y.length, run.geometry)
        axis = "xy".index(triplet.axis)
        cut, sham = (stride_place(geometry, box[axis], axis) for box in (triplet.cut, triplet.sham))
        found.add(cut == sham)
    return found


def check(preset: str, common: dict[str, Any], inputs: tuple[dict[str, Any], ...], count: int) -> None:
    """Places do not depend on how the run sees them, so they are drawn once."""
    runs = [resolve_run(preset, RANDOM | common | fields) for fields in inputs]
    suite = SeamSuite(runs[0].data.seam, runs[0].geometry.reference)
    boxes = [suite.boxes("test", index) for index in range(count)]
    said = [phase_kept(run) for run in runs]
    assert [shared(run, suite, boxes) for run in runs] == [
        {"all": {True}, "none": {False}, "some": {True, False}}[str(one)] for one in said
    ]
    assert len(set(said)) > 1


@pytest.mark.parametrize(("common", "inputs"), [({}, MINI), (SQUARE, WHOLE)], ids=["cells and tilings", "whole image"])
def test_cut_and_sham_of_mini_share_the_phase_as_is_said(common: dict[str, Any], inputs: tuple[dict[str, Any], ...]) -> None:
    check("mini", common, inputs, 12)


def test_cut_and_sham_of_paper_share_the_phase_as_is_said() -> None:
    check("paper", {}, PAPER, 20)


@pytest.mark.slow
def test_longer_steps_share_it_at_the_cells_they_are_for() -> None:
    runs = [resolve_run("paper", RANDOM | {"data.seam.stride_cells": [16, 32], "geometry.detail_cells": cells}) for cells in (16, 24, 32)]
    suite = SeamSuite(runs[0].data.seam, runs[0].geometry)
    boxes = [suite.boxes("test", index) for index in range(300)]
    assert [shared(run, suite, boxes) for run in runs] == [{True}] * 3
    assert [phase_kept(run) for run in runs] == ["all"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "common", "inputs"), [("mini", {}, MINI), ("mini", SQUARE, WHOLE), ("paper", {}, PAPER)])
def test_cut_and_sham_share_the_phase_as_is_said_over_a_whole_pool(
    preset: str, common: dict[str, Any], inputs: tuple[dict[str, Any], ...]
) -> None:
    check(preset, common, inputs, 3000)
