"""Doses, signed counts and position maps, against what was put in."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fila_lab.analysis.dose_tables import count_errors, dose_tables
from fila_lab.analysis.new_items import NewItems
from fila_lab.analysis.position_maps import map_figure, position_map
from fila_lab.analysis.position_tables import position_tables, positions_plot
from fila_lab.analysis.recomputed import recompute
from fila_lab.analysis.subgroups import Subgroups
from fila_lab.config.data import PLACES
from fila_lab.config.study import Family
from fila_lab.evaluation import summarise

ALL = (*PLACES, "cross", "shift_1", "shift_2")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Two arms, three seeds, 80 items at all places, on one canvas of 2 x 2 tiles of 42 px; `seamed` is wrong near the seams."""
    rng = np.random.default_rng(0)
    parts = []
    for arm in ("seamed", "whole"):
        for seed in SEEDS:
            rows = pd.DataFrame([(f"test-counting-{item:06d}", place) for item in range(80) for place in ALL], columns=["item_id", "place"])
            x, y = rng.uniform(0, 84, (2, len(rows)))
            near = (np.minimum(abs(x - 42), abs(y - 42)) < 14) & (arm == "seamed")
            answer = rng.integers(1, 6, len(rows))
            said = np.where(near, answer + 1, answer).astype(str)
            rows = rows.assign(arm=arm, seed=seed, id=f"{arm}{seed}", task="counting", canvas="84x84", target_x=x, target_y=y, image_id="p")
            parts.append(rows.assign(answer=answer.astype(str), prediction=said, correct=~near))
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[0, "prediction"] = "many"
    return frame.assign(correct=frame["prediction"] == frame["answer"])


@pytest.fixture(scope="module")
def found(predictions: pd.DataFrame) -> Any:
    rows = [{"arm": arm, "seed": seed, "id": id_, **summarise(own)} for (arm, seed, id_), own in predictions.groupby(["arm", "seed", "id"])]
    config = {"geometry": {"tile": 42, "patch": 14}}
    folder = SimpleNamespace(arms=["seamed", "whole"], label=str, main=[SimpleNamespace(result=None, config=config)])
    told = {"folder": folder, "frame": pd.DataFrame(rows), "tasks": ["counting"], "predictions": predictions, "measured_on": "mini"}
    found = SimpleNamespace(**told)
    found.once = lambda make: make(found)
    return found


def test_metrics_of_further_places_follow_from_predictions(found: Any, predictions: pd.DataFrame) -> None:
    again = recompute(predictions)
    cells = found.frame.set_index("id")
    assert {"cross_gap/counting", "shift_gap/counting", "shift_error/counting"} <= set(again)
    for name in again:
        np.testing.assert_allclose(again[name], cells[name])
    for name in ("exact/counting", "seam_gap/counting", "cross_gap/counting"):
        items = NewItems.of(predictions, name, draws=2)
        assert items is not None
        wanted = found.frame.pivot(index="arm", columns="seed", values=name)
        np.testing.assert_allclose(items.observed, wanted)


def test_a_dose_stands_beside_its_noise_floor(found: Any) -> None:
    table = dose_tables(found)["doses"]
    row = table.data.set_index("arm").loc["seamed"]
    own = found.frame[found.frame["arm"] == "seamed"]
    assert row["two"] == pytest.approx(own["exact/counting/cross"].mean())
    assert row["second seam"] == pytest.approx((own["exact/counting/cut"] - own["exact/counting/cross"]).mean())
    assert row["shift gap"] == pytest.approx(own["shift_gap/counting"].mean())
    assert list(table.shown["arm"]) == ["seamed", "whole"]
    assert "noise floor" in table.caption
    columns = [name for name in found.frame if not name.startswith("shift_")]
    unmoved: Any = SimpleNamespace(**{**vars(found), "frame": found.frame[columns]})
    assert "noise floor" not in dose_tables(unmoved)["doses"].caption


def test_counts_have_signs(found: Any, predictions: pd.DataFrame) -> None:
    cells = count_errors(predictions).set_index(["arm", "seed", "place"])
    own = predictions[(predictions["arm"] == "seamed") & (predictions["seed"] == 0) & (predictions["place"] == "cut")]
    off = [int(said) - int(true) for said, true in zip(own["prediction"], own["answer"], strict=True) if said != "many"]
    at = cells.xs(("seamed", 0, "cut"))
    assert at["over"] == pytest.approx(np.mean([one > 0 for one in off]))
    assert at["under"] == 0
    assert at["error"] == pytest.approx(np.mean(off))
    assert at["no_number"] == pytest.approx(1 / 80)
    shown = dose_tables(found)["count_errors"].shown
    assert list(shown["place"][:6]) == list(ALL)


def test_a_map_tells_the_seams_from_the_rest(found: Any, predictions: pd.DataFrame) -> None:
    table = position_map(predictions[predictions["arm"] == "seamed"], 42, 14)
    assert len(table) == 36
    by = {}
    for row, col, x, y, right in zip(table["row"], table["col"], table["low"], table["high"], table["accuracy"], strict=True):
        by[row, col] = right
        assert x <= right + 1e-9
        assert right <= y + 1e-9
    inside = [right for (row, col), right in by.items() if {row, col} & {2, 3}]
    assert max(inside) == 0
    assert min(right for (row, col), right in by.items() if not {row, col} & {2, 3}) > 0.9
    one = predictions[(predictions["target_x"] // 14 == 0) & (predictions["target_y"] // 14 == 5) & (predictions["arm"] == "seamed")]
    assert table.set_index(["row", "col"]).loc[(5, 0), "answers"] == len(one)
    assert len(map_figure({"a": table, "b": table}).axes) == 3
    assert position_tables(found)["positions"].shown["worst"][0].startswith("0.0 [")
    assert positions_plot(found) is not None


def test_items_without_positions_have_no_map(found: Any) -> None:
    bare: Any = SimpleNamespace(**{**vars(found), "predictions": found.predictions.drop(columns="target_x")})
    bare.once = lambda make: make(bare)
    assert position_tables(bare) == {}
    assert positions_plot(bare) is None


def test_a_map_is_as_large_as_its_canvas_whatever_lies_on_it(predictions: pd.DataFrame) -> None:
    """Else two arms' maps, or places without targets, would be drawn as another canvas."""
    left = position_map(predictions[predictions["target_x"] < 30], 42, 14)
    panel = map_figure({"a": left}).axes[0]
    assert panel.images[0].get_array().shape == (6, 6)
    assert len(panel.lines) == 2, "both seams"


def test_further_places_are_levels_of_a_split_by_place(predictions: pd.DataFrame) -> None:
    declared = {"f": Family(contrasts=[("whole", "seamed")], by=("place",))}
    split = Subgroups.of(predictions, declared, "exact/counting")
    assert split.notes == ()
    right = predictions.groupby(["place", "arm"])["correct"].mean().unstack()
    for level, difference in zip(split.levels["level"], split.levels["difference"], strict=True):
        assert difference == pytest.approx(right.loc[level, "whole"] - right.loc[level, "seamed"])
    assert list(split.levels["level"]) == list(ALL)


def test_a_cell_that_counts_nothing_hides_no_other(found: Any, predictions: pd.DataFrame) -> None:
    dumb = predictions.assign(prediction=predictions["prediction"].where(predictions["seed"] > 0, "none"))
    other: Any = SimpleNamespace(**{**vars(found), "predictions": dumb})
    table = dose_tables(other)["count_errors"].data.set_index(["arm", "place"])
    kept = count_errors(dumb[dumb["seed"] > 0])
    wanted = kept[(kept["arm"] == "seamed") & (kept["place"] == "cut")]["over"].mean()
    assert table.loc[("seamed", "cut"), "over"] == pytest.approx(wanted)
    assert table.loc[("seamed", "cut"), "no_number"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("sizes", [(42, 14), (336, 14), (30, 6)])
def test_seams_lie_between_fields(sizes: tuple[int, int]) -> None:
    tile, patch = sizes
    answers = pd.DataFrame(
        {"target_x": [tile - 0.01, tile], "target_y": 0.0, "canvas": f"{2 * tile}x{tile} on 9x9", "correct": [True, False]}
    )
    table = position_map(answers, tile, patch)
    fields = int(table["fields"].iloc[0])
    assert list(table["col"]) == [fields - 1, fields]
    assert (tile // patch) % fields == 0
    assert set(table["canvas"]) == {f"{2 * tile}x{tile}"}


def test_long_labels_over_a_map_run_into_no_neighbour(found: Any, predictions: pd.DataFrame) -> None:
    table = position_map(predictions.assign(correct=True), 42, 14)
    labels = [f"strided tiles (INF-LLaVA), no fusion, number {number}" for number in range(4)]
    figure = map_figure(dict.fromkeys(labels, table))
    figure.draw_without_rendering()
    boxes = [axis.get_tightbbox() for axis in figure.axes[:4]]
    assert all(one is not None and other is not None and one.x1 <= other.x0 for one, other in pairwise(boxes))
