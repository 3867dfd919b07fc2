"""Pictures are of the triplets on which arms or places differ; items without places have none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from thin_study import Bench

from fila_lab.config.flips import most_divided, shares_right
from fila_lab.studies.gallery import draw_published
from fila_lab.studies.publish import publish
from fila_lab.studies.store import ResultStore


def _asked(arm: str, count: int) -> pd.DataFrame:
    """Items of a benchmark, of which an arm answers every second."""
    ids = [f"docvqa/{number}" for number in range(count)]
    right = [(number + len(arm)) % 2 == 0 for number in range(count)]
    return pd.DataFrame({"item_id": ids, "task": "docvqa", "place": "", "image_id": ids, "prediction": "a", "correct": right})


def test_items_without_places_are_no_triplets() -> None:
    asked = pd.concat([_asked(arm, 20).assign(arm=arm) for arm in ("none", "concat")])
    assert most_divided(shares_right(asked)) == []
    triplet = pd.DataFrame({"item_id": "test-0", "place": ["cut", "sham", "intact"], "correct": [False, True, True], "arm": "none"})
    assert most_divided(shares_right(pd.concat([asked, triplet]))) == ["test-0"]


def test_a_benchmarks_items_are_not_drawn(bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench.run()
    for cell_id in ResultStore(bench.out).ids():
        _asked(cell_id, 8).to_parquet(bench.store.folder(cell_id) / "predictions.parquet")
    publish(bench.out, tmp_path / "thin")
    assert draw_published(tmp_path / "thin", tmp_path / "gallery") == 0
    assert not (tmp_path / "gallery").exists()
    assert "no pictures" not in caplog.text
