"""A study of many cells costs as many looks as it has cells: a run, a plan, a status read each file once, whoever asks for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from thin_study import Bench

import fila_lab.data.seam.gallery
from fila_lab.config import cells as folder_form
from fila_lab.studies import folder, make_plan, study_status
from fila_lab.studies.estimate import estimate
from fila_lab.studies.store import Invalid


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each JSON file of a result folder is read, by its path's end."""
    counted: Counter[str] = Counter()
    for module in (folder_form, folder):
        real = module.read_json

        def read(path: Path, real: Any = real) -> Any:
            counted["/".join(path.parts[-2:])] += 1
            return real(path)

        monkeypatch.setattr(module, "read_json", read)
    return counted


def test_each_result_is_read_once(bench: Bench, reads: Counter[str]) -> None:
    from fila_lab.config import load_study

    bench.run()
    ids = bench.store.ids()
    once = {f"{name}/{file}": 1 for name in ids for file in ("result.json", "manifest.json")}
    reads.clear()
    bench.run()
    assert {path: count for path, count in reads.items() if "plan.json" not in path} == once
    assert reads["out/plan.json"] <= 2, "before it is written, and after"
    reads.clear()
    study_status(bench.out)
    assert reads == once | {"out/plan.json": 1}
    reads.clear()
    estimate(make_plan(load_study(bench.file)), bench.out)
    assert reads == {path: 1 for path in once if "result" in path}


def test_a_file_that_changes_is_read_again(bench: Bench) -> None:
    bench.run()
    store = bench.store
    first, second, *_ = store.ids()
    assert len(store.done_ids()) == 6
    path = store.folder(first) / "result.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"done"', '"dnoe"'), encoding="utf-8")  # in place, of the same size
    (store.folder(second) / "result.json").unlink()
    assert len(store.done_ids()) == 4
    assert isinstance(store.outline(first), Invalid)
    assert store.outline(second) is None


def test_pictures_are_drawn_again_when_results_change(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(_: object, items: list[str], to: Path) -> list[dict[str, Any]]:
        to.mkdir(exist_ok=True)
        drawn.append(items)
        return []

    monkeypatch.setattr(fila_lab.data.seam.gallery, "draw_triplets", draw)
    bench.run()
    bench.run()
    assert len(drawn) == 1
    lost = bench.store.ids()[0]
    (bench.store.folder(lost) / "result.json").unlink()
    bench.run()
    assert len(drawn) == 2
    (bench.out / "gallery" / "gallery.json").unlink()
    bench.run()
    assert len(drawn) == 3
