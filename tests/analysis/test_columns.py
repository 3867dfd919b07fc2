"""Predictions in columns say what the rows say, whatever numbers their categories have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fila_lab.analysis.columns import ByPlace, Columns, equal, fits, repeated, text_columns
from fila_lab.config.data import PLACES


def cells(count: int = 5, items: int = 9) -> list[pd.DataFrame]:
    """Cells whose rows are in orders of their own, and whose items are not always there."""
    rng = np.random.default_rng(0)
    rows = [(f"i{item}", ("b", "a")[item % 2], place) for item in range(items) for place in sorted(PLACES)]
    found = []
    for _ in range(count):
        frame = pd.DataFrame(rows, columns=["item_id", "task", "place"]).sample(frac=0.9, random_state=rng.integers(99))
        frame["prediction"], frame["answer"] = rng.choice(list("yxz"), len(frame)), rng.choice(list("zyw"), len(frame))
        frame["correct"], frame["image_id"] = frame["prediction"] == frame["answer"], "page"
        found.append(frame.assign(length=rng.integers(0, 4, len(frame))).reset_index(drop=True))
    return found


def together(parts: list[pd.DataFrame], numbered: bool) -> pd.DataFrame:
    tables = [pa.Table.from_pandas(part, preserve_index=False) for part in parts]
    if numbered:
        names = text_columns(tables[0].schema)
        tables = [
            pa.table({name: table[name].dictionary_encode() if name in names else table[name] for name in table.column_names})
            for table in tables
        ]
    columns = Columns(tables[0].schema)
    for table in tables:
        assert fits(table)
        columns.add(table)
    return columns.frame({"id": repeated([f"c{9 - number}" for number in range(len(parts))], columns.rows)})


@pytest.mark.parametrize("numbered", [False, True])
def test_columns_are_the_rows(numbered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fila_lab.analysis.columns.AT_ONCE", 2)
    parts = cells()
    frame = together(parts, numbered)
    expected = pd.concat([part.assign(id=f"c{9 - number}") for number, part in enumerate(parts)], ignore_index=True)
    for name in expected:
        assert frame[name].tolist() == expected[name].tolist()
    for name in ("id", "item_id", "place"):
        assert list(frame[name].cat.categories) == sorted(set(expected[name]))
    assert equal(frame["prediction"], frame["answer"]).tolist() == frame["correct"].tolist()


def test_places_stand_side_by_side_as_in_a_pivot() -> None:
    frame, keys = together(cells(), True), ["id", "task", "item_id"]
    wide = frame.astype(dict.fromkeys(keys, str)).pivot_table(index=keys, columns="place", values="correct", aggfunc="first")
    aside = ByPlace.of(frame, keys, PLACES, frame["correct"])
    assert frame[keys].iloc[aside.first].astype(str).apply(tuple, axis=1).tolist() == list(wide.index)
    np.testing.assert_array_equal(aside.worth, wide[list(PLACES)].to_numpy(float))


def test_of_two_rows_the_first_counts() -> None:
    frame = pd.DataFrame({"id": "c", "item_id": ["i", "i", "j"], "place": ["cut", "cut", ""], "correct": [True, False, True]})
    aside = ByPlace.of(frame, ["id", "item_id"], PLACES, frame["correct"])
    np.testing.assert_array_equal(aside.worth, [[1, np.nan, np.nan], [np.nan] * 3])


def test_what_is_missing_equals_nothing() -> None:
    one, other = pd.Series(["a", None, "b"], dtype="category"), pd.Series(["a", None, "c"], dtype="category")
    assert equal(one, other).tolist() == [True, False, False]


def test_odd_columns_do_not_fit_at_one_glance() -> None:
    good = pa.Table.from_pandas(cells(1)[0], preserve_index=False)
    assert fits(good)
    rows = good.num_rows
    for name, values in {"correct": pa.array([1] * rows), "task": pa.nulls(rows, pa.string()), "score": pa.array([2.0] * rows)}.items():
        other = good.drop_columns([name]) if name in good.column_names else good
        assert not fits(other.append_column(name, values))
    assert not fits(good.drop_columns(["place"]))
    assert not fits(good.slice(0, 0))
