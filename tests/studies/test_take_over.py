"""A run begins with cells that another result folder holds, and computes the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from thin_study import STUDY, Bench, quality

from fila_lab.config import FilaError
from fila_lab.studies import runner
from fila_lab.studies.publish import publish


@pytest.fixture
def other(tmp_path: Path, bench: Bench) -> Bench:
    """The study with a seed more, in a folder of its own."""
    folder = tmp_path / "other"
    folder.mkdir()
    made = Bench(folder)
    made.file.write_text(STUDY.replace("small: {seeds: [0, 1]", "small: {seeds: [0, 1, 2]"), encoding="utf-8")
    return made


@pytest.mark.parametrize("published", [False, True])
def test_only_what_is_missing_is_computed(published: bool, bench: Bench, other: Bench, log, tmp_path: Path) -> None:
    bench.run()
    source = bench.out
    if published:
        source = tmp_path / "results"
        publish(bench.out, source)
    before = quality(bench.store)
    ran = len(log())
    other.run(source=source)
    assert len(log()) - ran == 3, "a cell of each arm: the third seed"
    after = quality(other.store)
    assert len(after) == len(before) + 3
    assert {cell: after[cell] for cell in before} == before
    for cell in before:
        assert other.store.predictions(cell).equals(bench.store.predictions(cell))
        assert other.store.manifest(cell) == bench.store.manifest(cell)
    other.run(source=source)
    assert len(log()) - ran == 3


def test_a_tuned_study_takes_over_its_search(bench: Bench, other: Bench, log) -> None:
    bench.run(budget="full")
    ran = len(log())
    other.run(budget="full", source=bench.out)
    assert len(log()) == ran
    assert quality(other.store) == quality(bench.store)


def test_cells_of_other_code_are_refused_or_accepted_by_name(bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    monkeypatch.setattr(runner, "code_hash", lambda *_: "newer")
    with pytest.raises(FilaError, match=r"--from .*made by other code \(\w+; this is newer\).*--allow-mixed"):
        other.run(source=bench.out)
    assert not other.store.done_ids()
    other.run(source=bench.out, allow_mixed=True)
    assert {other.store.manifest(cell)["code_hash"] for cell in other.store.done_ids()} == {
        "newer",
        bench.store.manifest(min(bench.store.done_ids()))["code_hash"],
    }


def test_what_is_no_result_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"no readable plan\.json"):
        bench.run(source=tmp_path)
    bench.run()
    with pytest.raises(FilaError, match="the folder that this run writes to"):
        bench.run(source=bench.out)
