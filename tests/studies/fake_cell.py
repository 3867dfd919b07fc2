"""A cell that takes milliseconds: its result is a pure function of its config, as a real one's is. It misbehaves on demand."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fila_lab.config import RunConfig, config_hash
from fila_lab.config.journal import Journal
from fila_lab.config.renamed import SCHEMA

BEST = {"none": 1e-3, "concat": 2e-3, "addition": 9e-3}
"""The learning rate at which each fusion does best."""


@dataclass
class Outcome:
    result: dict[str, Any]
    predictions: pd.DataFrame | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def run_cell(
    config: RunConfig,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Callable[[str, int, int], None] | None = None,
    test: bool = True,
    checkpoint: Path | None = None,
) -> Outcome:
    """Leaves a line in $FAKE_LOG when it starts; $FAKE_SECONDS long; $FAKE_FAIL=fusion fails, $FAKE_KILL=fusion kills its process.

    $FAKE_SIGNAL is what kills it, SIGKILL by default. $FAKE_FAULT=fusion:errno raises that OSError, for as
    long as the file $FAKE_FAULT_WHILE is there.
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
    rate = config.train.learning_rate
    curve = [{"step": step, "loss": 1 / step, "learning_rate": rate, "validation": None} for step in (1, 2, 3)]
    times: list[float] = []
    journal = Journal(workdir)
    journal.begin()
    for step in range(4):
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")) / 4)
        if step:
            times.append(round(time.time(), 1))
            journal.add({**curve[step - 1], "time": times[-1]})
        if progress:
            progress("train", step + 1, 4)
    failing = os.environ.get("FAKE_FAIL") == config.fusion.name
    if os.environ.get("FAKE_RAISE") == config.fusion.name:
        raise RuntimeError("beside itself")
    stream = random.Random(int(hashlib.sha256(config_hash(config).encode()).hexdigest(), 16))
    quality = 0.8 - 0.1 * abs(math.log10(rate / BEST[config.fusion.name])) + 0.01 * stream.random()
    result = {
        "schema": SCHEMA,
        "status": "failed" if failing else "done",
        "config": config.model_dump(mode="json"),
        "metrics": {} if failing or not test else {"exact/reading": quality, "seam_gap/reading": float("nan"), "n/reading": 40},
        "validation": {} if failing else {"exact/reading": quality - 0.01},
        "curve": curve,
        "timing": {"total": 0.1, "train": 0.05},
        "failure": {"kind": "out_of_memory", "message": "no room", "traceback": ""} if failing else None,
    }
    right = stream.random() < 0.5
    given = {"prediction": ["A" if right else "X", "B"], "correct": [right, True]}
    frame = pd.DataFrame({"item_id": ["a", "b"], "task": "reading", "place": "cut", "image_id": "page", "answer": ["A", "B"], **given})
    return Outcome(result, None if failing or not test else frame, {"data_hash": {"train": "0"}, "curve_times": {"loss": times}})


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
