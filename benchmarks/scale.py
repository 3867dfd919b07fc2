"""What a study of many cells costs beside its cells: plan, status, run, report, sync, in processor time and memory.

`python -m benchmarks.scale`: folders of 100 to 10,000 cells, 20 arms, made in a minute from the published cells of `fusion_methods` without
running any; then each verb in a process of its own. Processor seconds are told, which other work on the machine changes little. Writes
scale.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from fila_lab.studies.plan import CellSpec

REPOSITORY = Path(__file__).parents[1]
PUBLISHED = REPOSITORY / "experiments" / "results" / "fusion_methods"
WIDTHS = range(12, 60, 4)
"""Hidden widths of the arms beside those of the published study."""
CELLS = (100, 1000, 3000, 10_000)
TRIPLETS = 400
"""Of a cell's test pool, as in the studies' small budgets; three rows each."""
VERBS = ("plan", "status", "first", "run", "report")
"""`first` is the run behind the last cell, which draws the gallery; `run` is the next, which finds all done."""
CPU_AT_MOST = {"plan": 5.0, "run": 15.0, "status": 5.0, "report": 60.0}
"""Seconds at 10,000 cells."""
MEMORY_AT_MOST = {"run": 400.0}
"""MiB at 10,000 cells."""


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds by the clock and of the processor, and MiB at most."""

    wall: float
    cpu: float
    peak_mib: float


def make_folder(place: Path, cells: int, triplets: int = TRIPLETS) -> None:
    """`study.yaml` and the complete result folder `out` of a study, as its cells would have left them."""
    from fila_lab.config import load_study
    from fila_lab.studies.costs import measure_costs
    from fila_lab.studies.folder import write_plan
    from fila_lab.studies.identity import code_hash
    from fila_lab.studies.plan import make_plan

    place.mkdir(parents=True, exist_ok=True)
    (place / "study.yaml").write_text(study_text(cells, triplets), encoding="utf-8")
    plan, out, code = make_plan(load_study(place / "study.yaml"), "full"), place / "out", code_hash()
    (out / "cells").mkdir(parents=True, exist_ok=True)
    (out / "study.yaml").write_bytes((place / "study.yaml").read_bytes())
    write_plan(out, plan, code)
    templates = Templates(triplets)
    for cell in plan.cells:
        templates.write(cell, out / "cells" / cell.id, code)
    configs = {arm: next(cell.config for cell in plan.cells if cell.arm == arm) for arm in plan.arms}
    costs = json.loads((PUBLISHED / "costs.json").read_text(encoding="utf-8"))
    measure_costs(out, configs, code, lambda arms, *_: {arm: costs[published_arm(arm)] for arm in arms})


def study_text(cells: int, triplets: int) -> str:
    """The published study with more arms, and seeds for so many cells."""
    import yaml

    study = yaml.safe_load((PUBLISHED / "study.yaml").read_text(encoding="utf-8"))
    wide = {f"concat-{width}": {"role": "fusion", "set": {"fusion.name": "concat", "fusion.hidden": width}} for width in WIDTHS}
    study["arms"] |= wide
    study["families"]["widths"] = {"contrasts": [[arm, "none"] for arm in wide]}
    seeds = list(range(max(1, cells // len(study["arms"]))))
    study["budgets"] = {"full": {"seeds": seeds, "set": {"train.steps": 300, "data.test_triplets": triplets}}}
    for absent in ("tuning", "winners"):
        study.pop(absent, None)
    return yaml.safe_dump(study | {"name": "scale"}, sort_keys=False)


def published_arm(arm: str) -> str:
    """Whose published cells stand for those of an arm."""
    return "concat" if arm.startswith("concat-") else arm


class Templates:
    """The published cells, cut down to so many triplets, for new ones to be written after."""

    def __init__(self, triplets: int) -> None:
        from fila_lab.studies import ResultStore
        from fila_lab.studies.folder import read_plan

        self.triplets = triplets
        self._store = ResultStore(PUBLISHED)
        planned = (read_plan(PUBLISHED) or {"cells": []})["cells"]
        self._ids = {(cell["arm"], cell["seed"]): cell["id"] for cell in planned if cell["phase"] == "main"}
        self._made: dict[str, tuple[dict[str, Any], dict[str, Any], bytes]] = {}

    def write(self, cell: CellSpec, folder: Path, code: str) -> None:
        """A cell's three files."""
        arm = published_arm(cell.arm)
        seeds = [seed for name, seed in self._ids if name == arm]
        result, manifest, predictions = self._template(self._ids[arm, seeds[cell.seed % len(seeds)]])
        folder.mkdir(exist_ok=True)
        result = {**result, "id": cell.id, "config": cell.config.model_dump(mode="json")}
        (folder / "predictions.parquet").write_bytes(predictions)
        (folder / "manifest.json").write_text(json.dumps({**manifest, "code_hash": code}, indent=1) + "\n", encoding="utf-8")
        (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    def _template(self, cell_id: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
        if cell_id not in self._made:
            result, predictions = self._store.get(cell_id), self._store.predictions(cell_id)
            assert result is not None
            assert predictions is not None
            chosen = sorted(predictions["item_id"].unique(), key=_mixed)[: self.triplets]
            predictions = predictions[predictions["item_id"].isin(chosen)].reset_index(drop=True)
            content = {**result.dump(), "metrics": _metrics(predictions)}
            self._made[cell_id] = content, self._store.manifest(cell_id), predictions.to_parquet(index=False)
        return self._made[cell_id]


def _mixed(name: str) -> str:
    """Sorted by this, names are in no order of theirs, and always in the same."""
    return hashlib.sha256(name.encode()).hexdigest()


def _metrics(predictions: pd.DataFrame) -> dict[str, float]:
    from fila_lab.analysis.recomputed import recompute

    values = recompute(predictions.assign(id="")).iloc[0]
    return {str(name): float(value) for name, value in values.items()}


def measured(command: list[str], folder: Path) -> Usage:
    """Run a command to its end, workers of its own included.

    Raises:
        RuntimeError: it failed.
    """
    began = time.perf_counter()
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{' '.join(command)}: {(folder / 'said.txt').read_text(encoding='utf-8')[-2000:]}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def command(verb: str, place: Path) -> list[str]:
    """A verb as it is given in a shell; of `run`, the mirror is left out, which is what `sync` does."""
    start = "from fila_lab.cli import main; main()"
    if verb in ("first", "run"):
        verb = "run"
        untracked = "import functools; from fila_lab.studies import options; "
        untracked += "options.Options = functools.partial(options.Options, tracking=False); "
        start = untracked + start
    return [sys.executable, "-c", start, verb, str(place / "study.yaml"), "--budget", "full", "--out", str(place / "out")]


def measure(cells: int, triplets: int, verbs: list[str], place: Path) -> Iterator[tuple[str, Usage]]:
    """Each verb on a folder that is made for it where it is not there."""
    if not (place / "out" / "costs.json").exists():
        measured(
            [sys.executable, "-m", "benchmarks.scale", "--make", str(place), "--cells", str(cells), "--triplets", str(triplets)], place
        )
    for verb in verbs:
        yield verb, measured(command(verb, place), place)


def main() -> None:
    """Measure, print, write scale.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS)
    parser.add_argument("--triplets", type=int, default=TRIPLETS)
    parser.add_argument("--verbs", nargs="+", default=list(VERBS), help=f"of {', '.join(VERBS)}, sync")
    parser.add_argument("--folders", type=Path, help="where folders are made and kept; default: a temporary place")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for scale.json")
    parser.add_argument("--make", type=Path, help="only make this folder")
    asked = parser.parse_args()
    if asked.make is not None:
        make_folder(asked.make, asked.cells[0], asked.triplets)
        return
    console, found = Console(), []
    with tempfile.TemporaryDirectory() as temporary:
        for cells in asked.cells:
            place = (asked.folders or Path(temporary)) / f"{cells}x{asked.triplets}"
            place.mkdir(parents=True, exist_ok=True)
            for verb, usage in measure(cells, asked.triplets, asked.verbs, place):
                found.append({"cells": cells, "verb": verb, **asdict(usage)})
                console.print(f"{cells:6d} cells  {verb:7s} {usage.cpu:7.2f} s CPU  {usage.wall:7.2f} s  {usage.peak_mib:7.0f} MiB")
    for line in misses(found):
        console.print(line, style="red")
    from benchmarks.report import write_record

    write_record(asked.out, "scale", {"triplets": asked.triplets, "arms": 8 + len(WIDTHS)}, found=found)


def misses(found: list[dict[str, Any]]) -> list[str]:
    """What is over a limit at the most cells."""
    last = [row for row in found if row["cells"] == CELLS[-1]]
    over = [(row, "cpu", "s CPU", CPU_AT_MOST.get(row["verb"], float("inf"))) for row in last]
    over += [(row, "peak_mib", "MiB", MEMORY_AT_MOST.get(row["verb"], float("inf"))) for row in last]
    return [f"MISSES: {row['verb']} {row[name]:.1f} {unit} > {limit:g}" for row, name, unit, limit in over if row[name] > limit]


if __name__ == "__main__":
    main()
