"""What training on files costs beside training: waiting for batches, and memory over many rows.

`python -m benchmarks.files`: exported pages in LLaVA's format, an arm of `mini` under Lightning's Trainer, batches made by other processes;
then an index of many rows about few images, read to its end in a process of its own. Nothing else should run beside it. Writes files.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch.utils.data import DataLoader

from benchmarks.lines import Line
from benchmarks.report import write_record
from fila_lab.config import FilaError, RunConfig, resolve_run
from fila_lab.cost.resident import resident
from fila_lab.data.seam.export import export
from fila_lab.training import FilaModule
from fila_lab.training.batches import Batch, Collator
from fila_lab.training.data import CellData, open_data
from fila_lab.training.streams import Stream
from fila_lab.training.trainer import make_trainer

WAITING_AT_MOST = 0.05
"""Of the time from step to step."""
GROWN_AT_MOST = 32.0
"""MiB that the process may grow by between a tenth of the rows and all of them."""
WARM_UP = 20
"""Steps before the processes that make batches have started."""


class Waiting:
    """A loader, and how long each of its batches was waited for; what happens between two of them is the step."""

    def __init__(self, batches: DataLoader) -> None:
        self.batches = batches
        self.waited: list[float] = []
        self.stepped: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.batches)
        while True:
            began = time.perf_counter()
            batch = next(batches)
            self.waited.append(time.perf_counter() - began)
            began = time.perf_counter()
            yield batch
            self.stepped.append(time.perf_counter() - began)

    @property
    def share(self) -> float:
        """Of the time from step to step."""
        waited, stepped = sum(self.waited[WARM_UP : len(self.stepped)]), sum(self.stepped[WARM_UP:])
        return waited / (waited + stepped)


def files_config(data: Path, arm: str, steps: int, workers: int) -> RunConfig:
    """`mini` on a LLaVA-format file."""
    source = {"suite": "llava", "path": str(data), "options": {"validate_share": 0.1}}
    fields = {"fusion.name": arm, "train.steps": steps, "train.validate_every": steps, "data.train": source, "data.workers": workers}
    return resolve_run("mini", fields, {"data.train_items": None, "data.val_items": None})


def waiting(config: RunConfig, folder: Path) -> Waiting:
    """A fit of `train.steps` steps, its waits told apart."""
    module = FilaModule.from_config(config, detail_branch=True)
    pools = open_data(config, folder / "cache", ("train", "val"))
    data = CellData(config, pools, dict.fromkeys(pools), module.model.tokenizer)
    loader = data.train_dataloader()
    assert isinstance(loader, DataLoader)  # a step is one pass here
    batches = Waiting(loader)
    trainer = make_trainer(config, folder / "work", _Quiet())
    trainer.limit_val_batches = 0
    trainer.fit(module, train_dataloaders=batches)
    return batches


class _Quiet(Callback):
    """Nothing: Lightning's Trainer wants a callback where there are checkpoints."""


def write_index(folder: Path, rows: int, images: int) -> Path:
    """A file of `rows` rows about `images` exported pages."""
    config = resolve_run("mini")
    export(config.data.seam, config.geometry, "train", images, folder / "pages")
    shown = json.loads((folder / "pages" / "train.json").read_text(encoding="utf-8"))
    many = [{**shown[number % len(shown)], "id": f"row-{number}"} for number in range(rows)]
    path = folder / "pages" / "many.json"
    path.write_text(json.dumps(many), encoding="utf-8")
    return path


def read_through(index: Path, cache_dir: Path) -> dict[str, float]:
    """Every row of an index as batches, once: MiB resident after a tenth and at the end, and rows a second."""
    source = {"suite": "llava", "path": str(index), "images": str(index.parent)}
    config = resolve_run("mini", {"data.train": source, "fusion.name": "none", "data.train_items": None, "data.val_items": None})
    pool = open_data(config, cache_dir, ("train",))["train"]
    collator = Collator(config, pool, None, FilaModule.from_config(config, detail_branch=True).model.tokenizer)
    rows = np.arange(len(pool))
    began, seen, early = time.perf_counter(), 0, 0.0
    for batch in Stream(collator, rows, config.train.batch_size, None):
        assert isinstance(batch, Batch)
        seen += len(batch.rows)
        if not early and seen >= len(rows) / 10:
            early = resident(peak=False) / 2**20
    late, seconds = resident(peak=False) / 2**20, time.perf_counter() - began
    return {"rows": seen, "early_mib": early, "late_mib": late, "rows_a_second": seen / seconds}


def grown(index: Path, cache_dir: Path) -> dict[str, float]:
    """`read_through` in a process of its own. FilaError where it fails."""
    command = [sys.executable, "-m", "benchmarks.files", "--index", str(index), "--out", str(cache_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if ended.returncode:
        raise FilaError(f"the process that read {index} ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
    """Measure, or read an index (the process of its own)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for files.json")
    parser.add_argument("--arms", nargs="+", default=["none", "concat"], help="arms of mini that are trained")
    parser.add_argument("--items", type=int, default=1000, help="exported pages")
    parser.add_argument("--steps", type=int, default=120, help=f"of a fit; the first {WARM_UP} do not count")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    parser.add_argument("--rounds", type=int, default=3, help="fits of each arm")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the index whose memory is watched")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if options.index:
        print(json.dumps(read_through(options.index, options.out)))
        return
    console, lines = Console(), []
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = resolve_run("mini")
        export(config.data.seam, config.geometry, "train", options.items, folder / "train")
        for arm in options.arms:
            made = files_config(folder / "train", arm, options.steps, options.workers)
            fits = [waiting(made, folder / f"{arm}-{number}") for number in range(options.rounds)]
            step = statistics.median(statistics.median(fit.stepped[WARM_UP:]) for fit in fits)
            record[arm] = {"waiting": [fit.share for fit in fits], "step_seconds": step}
            share = statistics.median(fit.share for fit in fits)
            lines.append(Line(arm, "fp32", "time waiting for data over the time from step to step", share, WAITING_AT_MOST))
            console.print(lines[-1].arm, str(lines[-1]), highlight=False)
        record["memory"] = memory = grown(write_index(folder / "many", options.rows, 20), folder / "cache")
        lines.append(Line("files", "rows", f"MiB grown over {options.rows} rows", memory["late_mib"] - memory["early_mib"], GROWN_AT_MOST))
        console.print(lines[-1].arm, str(lines[-1]), highlight=False)
    path = write_record(options.out, "files", _settings(options), **record, lines=[line.record() for line in lines])
    console.print(f"written: {path}", highlight=False, markup=False)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in ("out", "index")}


if __name__ == "__main__":
    main()
