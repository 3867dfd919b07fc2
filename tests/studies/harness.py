"""Kills a study's driver, its workers, or both, again and again, and looks at what is left each time and in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
from thin_study import Bench

from fila_lab.studies import ResultStore
from fila_lab.studies.mirror.database import default_uri

HERE = Path(__file__).parent
TARGETS = ("driver", "worker", "both", "mirror")
SPAN = {"driver": 2.5, "worker": 1.5, "both": 2.5, "mirror": 2.5}
"""Kills fall at random within these seconds after the driver has its lock, has a worker, or has begun to mirror."""
PATIENCE = 900.0
"""Seconds; machines that do other work too are slow."""


def outcomes(store: ResultStore) -> dict[str, Any]:
    """All that a cell says of itself, times apart."""
    said = {}
    for cell_id, result in store.results().items():
        predictions = store.predictions(cell_id)
        told = None if predictions is None else predictions.to_csv(index=False)
        said[cell_id] = (result.status, result.metrics, result.validation, result.curve, told)
    return said


class Harness:
    """Folders of one study, run to their end through kills; a folder that is complete is checked whole, and the next is begun.

    Args:
        place: where folders go.
        temporary: TMPDIR of all processes, on another file system if the test means it.
        reference: what the cells say when nothing is killed.
        options: of `drive.py`; budget: of the study.
    """

    def __init__(self, place: Path, temporary: Path, reference: dict[str, Any], budget: str, options: dict[str, Any], seed: int) -> None:
        self.place, self.temporary, self.reference, self.budget = place, temporary, reference, budget
        self.options = {"tracking": True, "cache_dir": str(place / "cache"), "workers": 2, **options}
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.folders = 0
        self.study = ""
        self.files: dict[str, bytes] = {}
        """Name in a result folder -> what it holds in the end."""

    def campaign(self, kills: int, targets: tuple[str, ...] = TARGETS) -> None:
        """At least so many kills, over as many folders as it takes; every folder ends complete."""
        while sum(self.kills.values()) < kills:
            self.folders += 1
            folder = self.place / f"folder-{self.folders}"
            folder.mkdir()
            bench = Bench(folder)
            if self.study:
                bench.file.write_text(self.study, encoding="utf-8")
            for target in self._order(targets, kills - sum(self.kills.values())):
                if self._kill(bench, target):
                    self.kills[target] += 1
                    self._note(f"{folder.name} {target}")
                self._nothing_torn(bench)
            self._complete(bench)
            self._note(f"{folder.name} is whole")

    def _order(self, targets: tuple[str, ...], left: int) -> Iterator[str]:
        """What to kill in one folder: whatever has been killed least, and the mirror last, for it comes when all cells are there."""
        others = [target for target in targets if target != "mirror"]
        mirrors = self.chance.randint(1, 3) if "mirror" in targets else 0
        for _ in range(max(1, min(self.chance.randint(2, 6), left - mirrors)) if others else 0):
            yield min(others, key=lambda target: (self.kills[target], self.chance.random()))
        yield from ["mirror"] * mirrors

    def _note(self, line: str) -> None:
        with (self.place / "kills.log").open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    def _start(self, bench: Bench) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            str(HERE / "drive.py"),
            str(bench.file),
            str(bench.out),
            self.budget,
            "process",
            json.dumps(self.options),
        ]
        environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "FAKE_SECONDS": "0.2",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        with (bench.file.parent / "driver.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _kill(self, bench: Bench, target: str) -> bool:
        """Whether there was something to kill."""
        driver = self._start(bench)
        process = psutil.Process(driver.pid)
        began = {"driver": self._holds, "worker": self._works, "both": self._works, "mirror": self._mirrors}[target]
        if not _wait(lambda: driver.poll() is not None or began(bench, process)):
            driver.kill()
            raise AssertionError(
                f"the driver never came to {target}: {(bench.file.parent / 'driver.log').read_text(encoding='utf-8')[-2000:]}"
            )
        time.sleep(self.chance.uniform(0, SPAN[target]))
        if driver.poll() is not None:
            return False
        workers = _workers(process)
        if target in ("worker", "both"):
            if not workers:
                driver.wait(PATIENCE)
                return False
            with suppress(psutil.NoSuchProcess):
                self.chance.choice(workers).send_signal(signal.SIGKILL)
        if target != "worker":
            driver.kill()
        driver.wait(PATIENCE)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE], "a worker outlived its driver"
        return True

    @staticmethod
    def _holds(bench: Bench, driver: psutil.Process) -> bool:
        with suppress(OSError, ValueError):
            return bool(json.loads((bench.out / "lock.json").read_text(encoding="utf-8"))["pid"] == driver.pid)
        return False

    @staticmethod
    def _works(bench: Bench, driver: psutil.Process) -> bool:
        return bool(_workers(driver))

    @staticmethod
    def _mirrors(bench: Bench, driver: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return any(file.path.endswith("mlflow.lock") for file in driver.open_files())
        return False

    def _nothing_torn(self, bench: Bench) -> None:
        """What counts after a kill is right, and there is nothing that does not count."""
        assert not bench.store.invalid()
        for cell_id, said in outcomes(bench.store).items():
            assert said == self.reference[cell_id], cell_id

    def _complete(self, bench: Bench) -> None:
        log = bench.file.parent / "driver.log"
        assert self._start(bench).wait(10 * PATIENCE) == 0, log.read_text(encoding="utf-8")[-3000:]
        assert outcomes(bench.store) == self.reference
        assert {name: (bench.out / name).read_bytes() for name in self.files} == self.files
        assert not bench.store.moved_aside()
        if self.options["tracking"]:
            self._mirror_is_whole(bench)
        left = [path for root in (bench.out, self.place / "cache") for path in root.rglob("*") if _is_temporary(path.relative_to(root))]
        assert not left, left
        assert not [path for path in self.temporary.rglob("*") if path.is_file() and path.suffix in (".ckpt", ".tmp", ".db", ".npy")]

    def _mirror_is_whole(self, bench: Bench) -> None:
        import mlflow

        assert not list(bench.out.glob("mlflow.unreadable*")), "a database was ruined"
        with closing(sqlite3.connect(bench.out / "mlflow.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        client = mlflow.MlflowClient(default_uri(bench.out))
        experiment = client.get_experiment_by_name(json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))["study"]["name"])
        runs = list(client.search_runs([experiment.experiment_id], max_results=1000))
        pruned = {cell for cell, said in self.reference.items() if said[0] == "pruned"}
        assert {run.info.status for run in runs if run.data.tags.get("cell_id") not in pruned} == {"FINISHED"}
        cells = Counter(run.data.tags["cell_id"] for run in runs if run.data.tags["kind"] == "cell")
        assert cells == Counter(list(self.reference)), "a cell is missing in the mirror, or there twice"
        for run in runs:
            if run.data.tags["kind"] == "cell":
                shown = {name: value for name, value in self.reference[run.data.tags["cell_id"]][1].items() if value is not None}
                assert {name: run.data.metrics.get(name) for name in shown} == shown


def _workers(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return [child for child in driver.children() if "fila_lab.studies.engines.worker" in child.cmdline()]
    except psutil.Error:
        return []


def _is_temporary(path: Path) -> bool:
    return path.name.endswith((".tmp", ".partial", ".tmp-journal")) or ".tmp-" in path.name or path.parts[0] == "work"


def _wait(condition: Any) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
