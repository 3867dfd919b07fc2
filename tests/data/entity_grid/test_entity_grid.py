"""Entities at nine places: what the seams of a page cut, that answers are what is drawn, and that the figures are those counted by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.entity_grid.page import PLACES, WHERE
from fila_lab.data.entity_grid.suite import TASKS, EntityGrid
from fila_lab.data.seam.content import COLOURS
from fila_lab.data.suite import Item, Opening, open_suite
from fila_lab.evaluation.aggregates import AGGREGATES, Scored
from fila_lab.evaluation.cells import aggregated, judged
from fila_lab.imaging import Geometry, prepare
from fila_lab.studies.identity import PACKAGE, shaping_files

GEOMETRY = GeometryConfig(tile=42, canvases=((84, 42), (84, 84)), detail_cells=3)
SUITE = EntityGrid(GEOMETRY, items=27)


def page(item: Item) -> Image.Image:
    found = item.pixels()
    assert isinstance(found, Image.Image)
    return found


def ink(item: Item) -> np.ndarray:
    return np.asarray((np.asarray(page(item)) != 255).any(-1))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [SUITE.items("test", index)[0] for index in range(SUITE.length("test"))]


def test_every_task_asks_at_every_place_equally_often(items: list[Item]) -> None:
    assert set(Counter((item.task, item.known["cell"]) for item in items).values()) == {1}
    assert set(Counter(item.known["where"] for item in items).items()) == {("corner", 12), ("edge", 12), ("centre", 3)}
    assert {item.task for item in items} == set(TASKS)


def test_a_class_says_how_many_seams_cut_what_is_drawn(items: list[Item]) -> None:
    for item in items:
        geometry = Geometry.of(*page(item).size, GEOMETRY)
        assert (geometry.rows, geometry.cols) == (2, 2)
        mask, half = ink(item), page(item).width // 2
        parts = [mask[rows, cols].any() for rows in (slice(half), slice(half, None)) for cols in (slice(half), slice(half, None))]
        cut = (parts[0] or parts[2]) and (parts[1] or parts[3]), (parts[0] or parts[1]) and (parts[2] or parts[3])
        assert sum(map(bool, cut)) == WHERE[item.known["where"]]


def test_answers_are_what_is_drawn_and_where(items: list[Item]) -> None:
    for item in items:
        (turn,) = item.turns
        (answer,) = turn.answers
        seen = set(map(tuple, np.unique(np.asarray(page(item))[::9, ::9].reshape(-1, 3), axis=0).tolist()))
        colours = {name for name, rgb in COLOURS.items() if rgb in seen}
        if item.task == "grid_identification":
            assert {answer.split()[0]} == colours
        if item.task == "grid_counting":
            assert int(answer) >= len(colours)
        if item.task == "grid_position":
            y, x = (np.mean(at) / page(item).width for at in np.nonzero(ink(item)))
            assert answer == PLACES[3 * round(4 * y - 1) + round(4 * x - 1)]
            assert turn.question.startswith("Where is the ")


def test_pages_follow_from_their_index_alone_and_can_be_prepared(items: list[Item]) -> None:
    again = EntityGrid(GEOMETRY, items=3).items("test", 1)[0]
    assert np.array_equal(np.asarray(page(again)), np.asarray(page(items[1])))
    assert not np.array_equal(np.asarray(page(again)), np.asarray(page(EntityGrid(GEOMETRY, seed=1).items("test", 1)[0])))
    assert prepare(page(items[0]), GEOMETRY).tiles.shape == (4, 42, 42, 3)
    identities = {EntityGrid(GEOMETRY, **own).identity("test") for own in ({}, {"items": 9}, {"side": 0.2}, {"seed": 3})}  # type: ignore[arg-type]
    assert len(identities) == 4


def test_figures_counted_by_hand() -> None:
    rows = [
        ("corner", 1),
        ("corner", 1),
        ("corner", 1),
        ("corner", 0),
        ("edge", 1),
        ("edge", 0),
        ("centre", 0),
        ("centre", 1),
        ("centre", 0),
    ]
    frame = pd.DataFrame(rows, columns=["where", "score"])
    figures = AGGREGATES["entity_grid"](Scored(frame, "exact_nocase"))
    assert figures == pytest.approx(
        {
            "level": (0.75 + 0.5 + 1 / 3) / 3,
            "exact_nocase/where=corner": 0.75,
            "exact_nocase/where=edge": 0.5,
            "exact_nocase/where=centre": 1 / 3,
            "discrepancy/edge": 1 / 3,
            "discrepancy/centre": 1 - (1 / 3) / 0.75,
        }
    )
    bad = AGGREGATES["entity_grid"](Scored(frame.assign(score=0.0), "exact_nocase"))
    assert bad["level"] == 0
    assert not [name for name in bad if name.startswith("discrepancy")], "a model that is wrong everywhere has no gap to be praised for"


def test_each_task_has_figures_of_its_own(items: list[Item]) -> None:
    rows = [
        {"task": item.task, "place": "", "item_id": item.item_id, "answer": item.turns[0].answers[0], "where": item.known["where"]}
        for item in items
    ]
    frame = pd.DataFrame(rows)
    right = frame["task"].eq("grid_position") | frame["where"].eq("corner")
    found = aggregated(judged(frame.assign(prediction=frame["answer"].where(right, "")), SUITE.tasks()), SUITE.tasks())
    assert found["grid_position: level"] == 1
    assert found["grid_position: discrepancy/centre"] == 0
    assert found["grid_counting: level"] == pytest.approx(1 / 3)
    assert found["grid_counting: discrepancy/edge"] == found["grid_identification: discrepancy/centre"] == 1


@pytest.mark.parametrize(
    ("options", "geometry", "words"),
    [
        ({"itens": 3}, GEOMETRY, "no option 'itens' .did you mean 'items'"),
        ({"items": 0}, GEOMETRY, "items=0"),
        ({"side": 0.9}, GEOMETRY, "side=0.9"),
        ({"items": True}, GEOMETRY, "items=True is no whole number"),
        ({"seed": "a"}, GEOMETRY, "seed='a' is no whole number"),
        ({}, GeometryConfig(tile=42, canvases=((84, 42), (126, 126)), detail_cells=3), r"add \[84, 84\] and leave out \[126, 126\]"),
        ({}, GeometryConfig(tile=42, canvases=((84, 42), (42, 84)), detail_cells=3), r"go on \[84, 42\]; add \[84, 84\]$"),
        ({}, GeometryConfig(tile=42, canvases=((84, 84), (126, 126)), detail_cells=3), r"go on \[126, 126\]; leave out \[126, 126\]$"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, object], geometry: GeometryConfig, words: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FilaError, match=words):
        open_suite("entity_grid", Opening(options, geometry, tmp_path))


def test_the_code_of_a_cell_covers_the_files_its_suite_runs() -> None:
    own, seam = ({str(path.relative_to(PACKAGE).as_posix()) for path in shaping_files([name])} for name in ("entity_grid", "seam"))
    shared = {"data/seam/plates.py", "data/seam/content.py", "data/seam/render.py"}
    assert shared | {"data/entity_grid/page.py", "evaluation/aggregates/entity_grid.py"} <= own
    assert "data/seam/suite.py" not in own
    assert "data/entity_grid/page.py" not in seam
    assert shared <= seam
