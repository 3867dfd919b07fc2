"""A cell that takes milliseconds: its result is a pure function of its config, as a real one's is. It misbehaves on demand."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.config import RunConfig, config_hash
from fila_lab.config.journal import Journal
from fila_lab.config.renamed import SCHEMA

if TYPE_CHECKING:
    import pandas as pd

IN_WORKER = getattr(sys.modules["__main__"].__spec__, "name", "") == "fila_lab.studies.engines.worker"
"""Whether this process is one of the process engine's, which passes on what cells say by pickle."""
BEST = {"none": 1e-3, "concat": 2e-3, "addition": 9e-3}
"""The learning rate at which each fusion does best."""


@dataclass
class Outcome:
    result: dict[str, Any]
    predictions: pd.DataFrame | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Later:
    """A table that is made where it is unpickled: a worker that loads no pandas is there in half the time."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    def __reduce__(self) -> Any:
        return table, (self.columns,)


def table(columns: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)


def run_cell(
    config: RunConfig,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Callable[[str, int, int], None] | None = None,
    test: bool = True,
    checkpoint: Path | None = None,
    stop: Callable[[int, float], bool] | None = None,
) -> Outcome:
    """Leaves a line in $FAKE_LOG when it starts; $FAKE_SECONDS long; $FAKE_FAIL=fusion fails, $FAKE_KILL=fusion kills its process.

    $FAKE_SIGNAL is what kills it, SIGKILL by default. $FAKE_FAULT=fusion:errno raises that OSError, for as
    long as the file $FAKE_FAULT_WHILE is there.

    A run that is validated three times or more has its validations in its curve, and ends where `stop` says.
    """
    if "FAKE_LOG" in os.environ:
        with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as handle:
            handle.write(f"{config.fusion.name} {config.seed} {os.environ.get('OMP_NUM_THREADS')} {test}\n")
    if os.environ.get("FAKE_KILL") == config.fusion.name:
        marker = Path(os.environ["FAKE_KILL_ONCE"]) if "FAKE_KILL_ONCE" in os.environ else None
        if marker is None or not marker.exists():
            if marker is not None:
                marker.touch()
            os.kill(os.getpid(), int(os.environ.get("FAKE_SIGNAL", signal.SIGKILL)))
    fusion, _, number = os.environ.get("FAKE_FAULT", "").partition(":")
    if fusion in (config.fusion.name, "all") and Path(os.environ["FAKE_FAULT_WHILE"]).exists():
        raise OSError(int(number), os.strerror(int(number)), str(workdir / "part"))
    seed = int(hashlib.sha256(config_hash(config).encode()).hexdigest(), 16)
    stream = random.Random(seed)
    rate = config.train.learning_rate
    quality = 0.8 - 0.1 * abs(math.log10(rate / BEST[config.fusion.name])) + 0.01 * stream.random()
    points: list[tuple[int, float | None]] = [(1, None), (2, None), (3, None)]
    validations = config.train.steps // config.train.validate_every
    if validations >= 3:
        wobble = random.Random(seed + 1)
        points = [(config.train.validate_every * k, quality * (1 - 0.5**k) + 0.05 * wobble.random()) for k in range(1, validations + 1)]
    curve: list[dict[str, Any]] = []
    times: dict[str, list[float | None]] = {"loss": [], "validation": []}
    stopped = None
    journal = Journal(workdir)
    journal.begin()
    for number, (step, value) in enumerate(points):
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")) / len(points))
        if progress:
            progress("train", number + 1, len(points))
        curve.append({"step": step, "loss": 1 / step, "learning_rate": rate, "validation": value})
        now = round(time.time(), 1)
        times["loss"].append(now)
        times["validation"].append(None if value is None else now)
        journal.add({**curve[-1], "time": now})
        if stop is not None and value is not None and stop(step, value):
            stopped = {"step": step, "value": value}
            break
    failing = os.environ.get("FAKE_FAIL") == config.fusion.name
    if os.environ.get("FAKE_RAISE") == config.fusion.name:
        raise RuntimeError("beside itself")
    done = not failing and stopped is None
    result = {
        "schema": SCHEMA,
        "status": "done" if done else "failed" if failing else "pruned",
        "config": config.model_dump(mode="json"),
        "metrics": {"exact/reading": quality, "seam_gap/reading": float("nan"), "n/reading": 40} if done and test else {},
        "validation": {"exact/reading": quality - 0.01} if done else {},
        "curve": curve,
        "timing": {"total": 0.1, "train": 0.05},
        "failure": {"kind": "out_of_memory", "message": "no room", "traceback": ""} if failing else None,
    } | ({"pruned": stopped} if stopped is not None and not failing else {})
    right = stream.random() < 0.5
    given = {"prediction": ["A" if right else "X", "B"], "correct": [right, True]}
    columns = {"item_id": ["a", "b"], "task": "reading", "place": "cut", "image_id": "page", "answer": ["A", "B"], **given}
    told: Any = Later(columns) if IN_WORKER else table(columns)
    return Outcome(result, told if done and test else None, {"data_hash": {"train": "0"}, "curve_times": times})


def measure(configs: dict[str, RunConfig], out: Path, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Stands for the cost pass."""
    progress("latency", 1, 1)
    return {arm: {"parameters": len(config.fusion.name)} for arm, config in configs.items()}


def prepare(config: RunConfig, *, configs: list[RunConfig], workers: int, **_: Any) -> Outcome:
    """Stands for the shared work."""
    with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as handle:
        handle.write(f"prepare {','.join(sorted({each.fusion.name for each in configs}))} {workers}\n")
    return Outcome({"status": "done"})


def full_disk(config: RunConfig, **_: Any) -> Outcome:
    """Stands for shared work that meets a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def warning_cell(config: RunConfig, **options: Any) -> Outcome:
    """A cell with something to say."""
    logging.getLogger("fila_lab").warning("something is %s", "odd")
    return run_cell(config, **options)
