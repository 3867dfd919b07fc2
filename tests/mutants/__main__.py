"""`python -m tests.mutants`: draw faults by room, show each to the tests that reach its line, and say which went unnoticed."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutants.faults import Fault, faults, sampled
from tests.mutants.noticing import EVERYWHERE, Noticing
from tests.mutants.report import table
from tests.mutants.rooms import ROOMS, Room
from tests.mutants.trial import Trial, copy_tree, preload, start

SLACK = 20.0
"""Seconds a trial may take beyond three times what its tests took without a fault: more is a fault noticed."""


@dataclass
class Reach:
    """What the tests of a room took without a fault, and which lines each runs."""

    seconds: dict[str, float]
    reached: dict[str, dict[str, list[str]]]

    def tests(self, path: str, line: int, end: int) -> list[str]:
        """The tests that run one of these lines, quickest first; all of the room where it is run outside a single test."""
        lines = self.reached.get(path, {})
        names = {name for number in range(line, end + 1) for name in lines.get(str(number), ())}
        if EVERYWHERE in names:
            names = set(self.seconds)
        chosen = {test for test in self.seconds if test in names or test.partition("::")[0] in names}
        return sorted(chosen, key=lambda test: self.seconds[test])


@dataclass
class Slot:
    """A copy of the tree in which one trial runs at a time."""

    tree: Path
    fault: Fault | None = None
    trial: Trial | None = None
    tests: list[str] = field(default_factory=list)


def measure(room: Room, files: list[str], tree: Path) -> Reach:
    """Run the room's tests without a fault.

    Raises:
        SystemExit: they fail.
    """
    out = tree / "reach.json"
    trial = start(tree, room.tests, 3600, [Noticing([tree / name for name in files], out)], first=False)
    while (code := trial.ended()) is None:
        time.sleep(0.1)
    if code:
        log = trial.log.read_text(errors="replace", encoding="utf-8")[-3000:]
        raise SystemExit(f"{room.name}: the tests fail without a fault (exit {code}):\n{log}")
    content = json.loads(out.read_text(encoding="utf-8"))
    reached = {str(Path(name).relative_to(tree.resolve())): lines for name, lines in content["reached"].items()}
    return Reach(content["seconds"], reached)


def try_room(room: Room, tree: Path, slots: list[Slot], number: int, seed: int, records: Path) -> list[dict[str, Any]]:
    """Show `number` faults of a room to its tests; what was noticed once is not tried again while the file stays."""
    files = sorted({str(path.relative_to(tree)) for pattern in room.files for path in tree.glob(pattern)})
    sources = {name: (tree / name).read_text(encoding="utf-8") for name in files}
    drawn = sampled([fault for name in files for fault in faults(name, sources[name]) if fault.valid(sources[name])], number, seed)
    done = {record["key"]: record for record in _read(records) if record["noticed"]}
    results = [done[_name(fault, sources)] for fault in drawn if _name(fault, sources) in done]
    todo = [fault for fault in drawn if _name(fault, sources) not in done]
    if not todo:
        return results
    print(f"{room.name}: {len(todo)} of {len(drawn)} faults to try; tests without a fault first", flush=True)
    reach = measure(room, files, slots[0].tree)
    queue = iter(todo)
    while True:
        for slot in slots:
            if slot.trial is None:
                _begin(slot, queue, reach)
            elif (code := slot.trial.ended()) is not None and slot.fault is not None:
                record = _record(room, slot.fault, sources, code, len(slot.tests))
                with records.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
                results.append(record)
                (slot.tree / slot.fault.path).write_text(sources[slot.fault.path], encoding="utf-8")
                print(f"  {len(results)}/{len(drawn)} {'noticed' if record['noticed'] else 'UNNOTICED'} {slot.fault.key}", flush=True)
                slot.trial = slot.fault = None
                _begin(slot, queue, reach)
        if all(slot.trial is None for slot in slots):
            return results
        time.sleep(0.02)


def _begin(slot: Slot, queue: Iterator[Fault], reach: Reach) -> None:
    fault = next(queue, None)
    if fault is None:
        return
    path = slot.tree / fault.path
    slot.fault, slot.tests = fault, reach.tests(fault.path, fault.start[0], fault.end[0]) or list(reach.seconds)
    path.write_text(fault.applied(path.read_text(encoding="utf-8")), encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()
    slot.trial = start(slot.tree, slot.tests, 3 * sum(reach.seconds[test] for test in slot.tests) + SLACK)


def _name(fault: Fault, sources: dict[str, str]) -> str:
    import hashlib

    return f"{hashlib.sha256(sources[fault.path].encode()).hexdigest()[:12]} {fault.start} {fault.key}"


def _record(room: Room, fault: Fault, sources: dict[str, str], code: int, tests: int) -> dict[str, Any]:
    return {
        "room": room.name,
        "fault": fault.key,
        "line": fault.line,
        "noticed": code != 0,
        "exit": code,
        "tests": tests,
        "key": _name(fault, sources),
    }


def _read(records: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()] if records.exists() else []


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--room", action="append", choices=[room.name for room in ROOMS], help="only this room (repeatable)")
    parser.add_argument("--faults", type=int, default=60, help="faults a room, drawn from all it could have (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once")
    parser.add_argument("--tree", type=Path, default=Path.cwd(), help="the checkout whose code and tests are tried (default: this one)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/mutants"), help="where records and the table go; noticed faults are not tried again"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    preload()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        slots = [Slot(copy_tree(options.tree.resolve(), Path(scratch).resolve() / str(number))) for number in range(options.jobs)]
        for room in ROOMS:
            if not options.room or room.name in options.room:
                records = options.out / f"{room.name.replace(' ', '_')}.jsonl"
                results += try_room(room, options.tree.resolve(), slots, options.faults, options.seed, records)
    text = table(results)
    (options.out / "mutants.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
