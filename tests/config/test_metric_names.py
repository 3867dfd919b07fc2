"""The names that planning knows are those that evaluation computes, and a metric no run can give is refused with what would do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.data import PLACES, SEAM_TASKS
from fila_lab.config.metrics import check_margin, check_metric, is_share, metric_names, parse_metric
from fila_lab.evaluation import question_only, summarise

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
TASKS = st.lists(st.sampled_from(SEAM_TASKS), min_size=1, max_size=4, unique=True)


def run(tasks: list[str], places: tuple[str, ...] = PLACES, **further: Any) -> Any:
    shares = {task: 1 / len(tasks) for task in tasks}
    return resolve_run("mini", RANDOM, {"data.seam.tasks": shares, "data.seam.places": list(places), **further})


@given(TASKS, st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True))
@settings(max_examples=25, deadline=None)
def test_names_are_those_that_evaluation_computes(tasks: list[str], places: list[str]) -> None:
    config = run(tasks, tuple(places))
    rng = np.random.default_rng(0)
    test = pd.DataFrame(
        [
            {"item_id": f"{task}{item}", "task": task, "place": place, "question": "?", "answer": str(rng.integers(3))}
            for task in tasks
            for item in range(5)
            for place in PLACES
        ]
    )
    test["correct"] = rng.random(len(test)) < 0.5
    given_ = summarise(test) | question_only(test.iloc[::2], test)
    assert set(given_) == set(metric_names(config))
    single = test.assign(place=[places[i % len(places)] for i in range(len(test))]).drop_duplicates(["item_id", "place"])
    single = single.groupby(["task", "place"]).head(1).drop_duplicates("item_id")
    single = pd.concat([single.assign(item_id=single["item_id"] + place, place=place) for place in places])
    assert set(summarise(single)) == set(metric_names(config, validation=True))


def test_further_places_have_names_where_they_are_asked_for() -> None:
    further = {"data.seam.further_places": ["cross", "shift_2"]}
    config, plain = run(["reading"], **further), run(["reading"])
    rows = [(f"i{item}", place) for item in range(4) for place in (*PLACES, "cross", "shift_2")]
    test = pd.DataFrame(rows, columns=["item_id", "place"]).assign(task="reading", question="?", answer="A", correct=True)
    assert set(summarise(test) | question_only(test, test)) == set(metric_names(config))
    for name in ("exact/reading/cross", "cross_gap/reading", "shift_gap/reading", "shift_error/reading", "exact/reading/shift_2"):
        check_metric("metric", name, config)
        assert is_share(name)
        with pytest.raises(ConfigError, match=r"add (cross|shift_\d) to data\.seam\.further_places"):
            check_metric("metric", name, plain)


@pytest.mark.parametrize(
    "seam",
    [{"further_places": ["cross"], "page_aspect": [0.1, 0.6]}, {"stride_cells": [2]}, {"further_places": ["shift_1"], "stride_cells": [5]}],
)
def test_places_that_no_canvas_has_are_refused_at_once(seam: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"data.seam.{next(iter(seam))} = .* leave it out"):
        run(["reading"], **{f"data.seam.{name}": value for name, value in seam.items()})


def test_canvases_that_are_named_for_a_place_have_it_and_the_others_have_not() -> None:
    asked = {"data.seam.further_places": ["cross"]}
    with pytest.raises(ConfigError, match=r"add one of ([\d, ]+) tiles along both axes, or leave it out") as error:
        run(["reading"], **asked, **{"geometry.canvases": [[126, 126]]})
    named = {int(tiles) for tiles in re.findall(r"\d+", str(error.value).partition("add one of")[2])}
    for tiles in range(2, 13):
        canvas = {"geometry.canvases": [[42 * tiles, 42 * tiles]]}
        if tiles in named:
            run(["reading"], **asked, **canvas)
        else:
            with pytest.raises(ConfigError, match="leave it out"):
                run(["reading"], **asked, **canvas)
    with pytest.raises(ConfigError, match="with tiles of 3 patches a side no canvas has: leave it out"):
        run(["reading"], **{"data.seam.stride_cells": [2]})


def test_places_and_cells_are_a_set_so_that_equal_suites_are_equal() -> None:
    one, other = (
        run(["reading"], **{"data.seam.further_places": places, "data.seam.stride_cells": cells})
        for places, cells in ((["shift_1", "cross", "cross"], [6, 3, 3]), (["cross", "shift_1"], [3, 6]))
    )
    assert one.data.seam == other.data.seam
    assert one.data.seam.test_places == ("cut", "sham", "intact", "cross", "shift_1")


def test_the_menu_of_metrics_holds_what_the_run_has() -> None:
    with pytest.raises(
        ConfigError, match=r"exact/TASK\[/cut\|sham\|intact\|cross\], .*cross_gap/TASK, question_only/TASK with TASK one of"
    ):
        check_metric("metric", "x", run(["reading"], **{"data.seam.further_places": ["cross"]}))
    with pytest.raises(ConfigError, match=r"give exact/mean, exact_nocase/grid_counting, exact/TASK\["):
        check_metric("metric", "x", run(["reading"]), further={"grid_counting": "exact_nocase"})


@given(TASKS)
@settings(max_examples=20, deadline=None)
def test_every_measure_is_taken_and_counts_are_not(tasks: list[str]) -> None:
    config = run(tasks)
    for name in metric_names(config):
        if name.startswith("n/"):
            with pytest.raises(ConfigError, match="counts items"):
                check_metric("metric", name, config)
        else:
            check_metric("metric", name, config)
            assert is_share(name)
            with pytest.raises(ConfigError, match=r"for 2 points write margin: 0\.02"):
                check_margin(2, [name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exact/readin", "did you mean 'exact/reading'"),
        ("exact/reading/cutt", "did you mean 'exact/reading/cut'"),
        ("accuracy", "is no metric"),
        ("exact", "is no metric"),
        ("exact/", "is no metric"),
        ("", "is no metric"),
        ("exact/reading/cut/left", "is no metric"),
        ("seam_gap/reading/cut", "is no metric"),
        ("exact/mean/left", "is no metric"),
        ("exact/fine/cutt", "did you mean 'exact/fine/cut'"),
        ("seam_gap/fine", "is no metric"),
        ("seam_gap", "is no metric"),
        ("Exact/Reading", "is no metric"),
        ("exact/chart", "data.seam.tasks does not draw; choose one of reading, coarse"),
        ("fragmentation/document", "is of a task that data.seam.tasks does not draw"),
        ("anls/reading", "asks for another score than reading is judged by; give exact/reading"),
        ("vqa/reading/cut", "judged by; give exact/reading/cut"),
        ("relaxed/chart", "data.seam.tasks does not draw; choose one of reading, coarse"),
        ("anls/docvqa", "is no metric"),
        ("timing/total", "is no metric"),
        ("loss", "is no metric"),
    ],
)
def test_others_are_refused_with_what_would_do(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_metric("metric", name, run(["reading", "coarse"]))
    assert words in str(error.value)
    assert str(error.value).startswith(f"metric = {name!r} ")


def test_a_task_with_no_share_gives_no_metric() -> None:
    config = resolve_run("mini", RANDOM, {"data.seam.tasks": {"reading": 1.0, "coarse": 0.0}})
    with pytest.raises(ConfigError, match="does not draw"):
        check_metric("metric", "exact/coarse", config)


def test_a_search_needs_a_metric_of_validation_items() -> None:
    config = run(["reading"], ("intact",))
    check_metric("metric", "exact/reading/intact", config, validation=True)
    with pytest.raises(ConfigError, match=r"data\.seam\.places = \['intact'\]; add 'cut' there"):
        check_metric("metric", "exact/reading/cut", config, validation=True)
    with pytest.raises(ConfigError, match="only the test pool has it"):
        check_metric("metric", "seam_gap/reading", config, validation=True)


@pytest.mark.parametrize(("margin", "words"), [(1, "0.01"), (2, "0.02"), (2.5, "0.025"), (50, "0.5"), (200, "give a share")])
def test_a_margin_in_points_is_refused_with_the_share(margin: float, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_margin(margin, ["exact/reading"])
    assert words in str(error.value)
    check_margin(0.999, ["exact/reading"])
    check_margin(margin, ["loss"])
    with pytest.raises(ConfigError, match="is no share, but anls/docvqa is one"):
        check_margin(margin, ["loss", "anls/docvqa"])


@pytest.mark.parametrize("kind", ["exact", "anls", "seam_gap", "n"])
@pytest.mark.parametrize(("task", "place"), [("reading", ""), ("mean", ""), ("docvqa", "cut"), ("", "")])
def test_a_name_is_taken_apart_as_it_was_put_together(kind: str, task: str, place: str) -> None:
    assert parse_metric("/".join(part for part in (kind, task, place) if part)) == (kind, task, place)
