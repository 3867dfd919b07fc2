"""The harness that asks whether tests notice faults: it finds the faults it should, and puts each where it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.faults import faults, sampled
from tests.mutants.report import equivalent, table
from tests.mutants.rooms import ROOMS

SOURCE = '''"""Text."""
import math


def share(x: float, limits: list[float], last: bool = False) -> float:
    """`x > 0`"""
    total = 0.5
    if x > 0 and not last:
        total += math.floor(x) * 2
    for limit in limits:
        if limit is None:
            continue
        print("x > 1", limit)
    return min(total, 1 - gate(x).sigmoid())
'''
REPOSITORY = Path(__file__).parents[1]


def changes() -> list[tuple[str, str]]:
    return [(fault.old, fault.new) for fault in faults("a.py", SOURCE)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x > 0", "((x) >= (0))"),
        ("x > 0 and not last", "((x > 0) or (not last))"),
        ("not last", "(last)"),
        ("gate(x).sigmoid()", "(1 - gate(x).sigmoid())"),
        ("math.floor", "math.ceil"),
        ("min", "max"),
        ("total += math.floor(x) * 2", "pass"),
        ("total += math.floor(x) * 2", "total -= math.floor(x) * 2"),
        ("0.5", "1.0"),
        ("2", "3"),
        ("False", "True"),
        ("continue", "break"),
        ("limit is None", "((limit) is not (None))"),
    ],
)
def test_slips_of_the_hand_are_among_the_faults(old: str, new: str) -> None:
    assert (old, new) in changes()


def test_texts_types_and_imports_are_left_alone() -> None:
    assert not [old for old, _ in changes() if "Text" in old or "x > 1" in old or old == "math"]


def test_each_fault_changes_one_place_and_leaves_valid_python() -> None:
    for fault in faults("a.py", SOURCE):
        text = fault.applied(SOURCE)
        assert fault.valid(SOURCE)
        assert text != SOURCE
        assert text.replace(fault.new, fault.old, 1) == SOURCE or len(text) - len(SOURCE) == len(fault.new) - len(fault.old)


def test_the_draw_is_the_same_each_time_and_another_with_another_seed() -> None:
    every = faults("a.py", SOURCE)
    assert sampled(every, 5, 0) == sampled(list(reversed(every)), 5, 0)
    assert sampled(every, 5, 0) != sampled(every, 5, 1)
    assert sampled(every, 1000, 0) == sorted(every, key=lambda fault: (fault.path, fault.start, fault.new))


def test_every_room_has_files_tests_and_faults() -> None:
    for room in ROOMS:
        for pattern in room.files:
            paths = sorted(REPOSITORY.glob(pattern))
            assert paths, pattern
            assert any(faults(str(path), path.read_text(encoding="utf-8")) for path in paths)
        assert all((REPOSITORY / name).exists() for name in room.tests)


def test_faults_that_are_called_equivalent_still_exist() -> None:
    keys = {
        fault.key
        for room in ROOMS
        for pattern in room.files
        for path in REPOSITORY.glob(pattern)
        for fault in faults(str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8"))
    }
    assert set(equivalent()) <= keys


def test_the_table_counts_by_room() -> None:
    records = [
        {"room": "a", "fault": "x", "noticed": True},
        {"room": "a", "fault": "y", "noticed": False},
        {"room": "b", "fault": "z", "noticed": True},
    ]
    text = table(records)
    assert "| a | 2 | 0 | 1 | 1 | 50% |" in text
    assert "| all | 3 | 0 | 2 | 1 | 67% |" in text
    assert "- a: `y`" in text
