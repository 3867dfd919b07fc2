"""What the MLflow mirror costs: `python -m benchmarks.tracking --cells 1000`. Cells are made up, of the size of a real one's.

`sync` of a folder into a database of its own, the first time and with nothing to do; and the mirror of a running study, as processor
time of the driver over the time that cells take.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.config import load_study
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies import make_plan, sync
from fila_lab.studies.engines import Finished, Started
from fila_lab.studies.folder import write_plan
from fila_lab.studies.manifest import machine, stamp, versions
from fila_lab.studies.mirror import live
from fila_lab.studies.mirror.database import open_default
from fila_lab.studies.mirror.live import LiveMirror
from fila_lab.studies.mirror.parents import Heading
from fila_lab.studies.mirror.points import Point
from fila_lab.studies.mirror.tracking import prepare_mlflow
from fila_lab.studies.plan import CellSpec, Plan
from fila_lab.studies.store import ResultStore

ARMS, POINTS, METRICS = 10, 50, 18
STUDY = """
name: tracking
question: What does it cost?
set: {{vit.weights: random, convnext.weights: random, language.weights: random}}
arms:
  none: {{role: baseline, set: {{fusion.name: none}}}}
{arms}
families: {{fusion: {{contrasts: [[a1, none]]}}}}
margin: 0.03
budgets:
  small: {{seeds: {seeds}}}
"""
CELL_SECONDS = 60.0
"""What a cell takes whose live mirror is measured."""


def make_folder(root: Path, cells: int) -> Plan:
    """A study's folder with so many finished cells."""
    arms = "\n".join(f"  a{number}: {{set: {{fusion.name: concat, fusion.hidden: {8 * number}}}}}" for number in range(1, ARMS))
    root.mkdir(parents=True)
    file = root / "study.yaml"
    file.write_text(STUDY.format(arms=arms, seeds=list(range(max(1, cells // ARMS)))), encoding="utf-8")
    plan = make_plan(load_study(file))
    store = ResultStore(root).open()
    write_plan(root, plan, "code")
    for cell in plan.cells:
        record(store, cell)
    return plan


def record(store: ResultStore, cell: CellSpec) -> None:
    """A made-up result of a cell, on disk."""
    chance, ended = random.Random(cell.id), time.time()
    metrics = {f"exact/t{number // 3}/{number % 3}": chance.random() for number in range(METRICS)}
    curve = [
        {"step": 10 * (step + 1), "loss": 2 / (step + 1), "learning_rate": 1e-3, "validation": chance.random() if step % 5 == 4 else None}
        for step in range(POINTS)
    ]
    result = {"schema": SCHEMA, "id": cell.id, "status": "done", "config": cell.config.model_dump(mode="json"), "metrics": metrics}
    result |= {"validation": {"exact/reading": 0.5}, "curve": curve, "timing": {"total": CELL_SECONDS}, "failure": None}
    manifest = {"code_hash": "code", "data_hash": {"train": "0", "val": "1", "seam": "2"}, "weights": {}, "versions": versions()}
    manifest |= {
        "machine": machine(),
        "started": stamp(ended - CELL_SECONDS),
        "finished": stamp(ended),
        "host": "here",
        "engine": "process",
    }
    times = [round(ended - CELL_SECONDS + step, 1) for step in range(POINTS)]
    store.write(
        cell.id,
        result,
        None,
        {**manifest, "host": "here", "engine": "process", "run": f"{stamp(0)} here 1", "curve_times": {"loss": times, "validation": times}},
    )


def sync_seconds(root: Path) -> tuple[float, float, float]:
    """(processor and elapsed seconds of the first `sync`, processor seconds of one with nothing to do); opening the database apart."""
    prepare_mlflow()
    open_default(root, "tracking")
    found: list[float] = []
    for _ in range(2):
        processor, elapsed = time.process_time(), time.perf_counter()
        sync(root)
        found += [time.process_time() - processor, time.perf_counter() - elapsed]
    return found[0], found[1], found[2]


def live_share(root: Path, plan: Plan, workers: int = 2, cells: int = 6) -> float:
    """Processor time of the live mirror over the time that the cells take. The cells' minute passes quickly; writes are as many."""
    writes = int(CELL_SECONDS / live.WRITE_SECONDS)
    live.WRITE_SECONDS = 0.3
    heading = Heading.of_study(plan.study, plan.budget, plan.study_hash)
    mirror = LiveMirror(root, None, heading, f"{stamp(time.time())} here 0", {cell.id: cell for cell in plan.cells}, system_metrics=True)
    prepare_mlflow()
    before = time.process_time()
    for start in range(0, cells, workers):
        running = plan.cells[start : start + workers]
        for number, cell in enumerate(running):
            mirror.listen(Started(cell.id, number))
        for write in range(writes):
            for cell in running:
                for point in range(write * POINTS // writes, (write + 1) * POINTS // writes):
                    mirror.listen(Point(cell.id, 10 * point, time.time(), {"loss": 1.0, "learning_rate": 1e-3}))
            time.sleep(live.WRITE_SECONDS)
        for number, cell in enumerate(running):
            record(ResultStore(root), cell)
            mirror.listen(Finished(cell.id, number, {}, None, {}, 0.0, 0.0, "here"))
    mirror.close()
    return (time.process_time() - before) / (cells * CELL_SECONDS)


def main(cells: Annotated[list[int], typer.Option(help="size of a folder; repeat for more")] = [1000, 10000]) -> None:  # noqa: B006
    """Measure; nothing else should run beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for count in cells:
            root = Path(folder) / str(count)
            make_folder(root, count)
            first, elapsed, again = (1000 * seconds / count for seconds in sync_seconds(root))
            print(f"sync of {count} cells: {first:.2f} ms a cell of processor time, {elapsed:.2f} elapsed; nothing to do: {again:.2f} ms")
        root = Path(folder) / "live"
        plan = make_folder(root, 0)
        for cell in plan.cells:
            (ResultStore(root).folder(cell.id) / "result.json").unlink()
        print(f"live: {live_share(root, plan):.3%} of the time of cells of {CELL_SECONDS:.0f} s")


if __name__ == "__main__":
    typer.run(main)
