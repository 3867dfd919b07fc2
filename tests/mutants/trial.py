"""One trial: the tests of a room in a forked process, on a copy of the tree that has a fault in it, or none."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAVY = ("numpy", "pandas", "scipy.stats", "torch", "timm", "open_clip", "transformers", "lightning", "pytest", "hypothesis", "PIL.Image")
"""Libraries that are imported once, before the fork; nothing of fila_lab is."""


def preload() -> None:
    """Import what every trial needs."""
    import importlib

    for name in HEAVY:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def copy_tree(source: Path, target: Path) -> Path:
    """The files that git knows of, copied, with compiled files made once."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=source, check=True, capture_output=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_file():
            shutil.copy2(source / name, path)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "fila_lab", "tests"], cwd=target, check=False)
    return target


@dataclass
class Trial:
    """A running trial."""

    process: int
    deadline: float
    log: Path

    def ended(self) -> int | None:
        """Exit code of pytest; 124 where the deadline passed; None while it runs."""
        pid, status = os.waitpid(self.process, os.WNOHANG)
        if pid:
            self._kill()
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() < self.deadline:
            return None
        self._kill()
        os.waitpid(self.process, 0)
        return 124

    def _kill(self) -> None:
        try:
            os.killpg(self.process, signal.SIGKILL)
        except ProcessLookupError:
            return


def start(tree: Path, tests: Sequence[str], seconds: float, plugins: Sequence[Any] = (), first: bool = True) -> Trial:
    """Fork and run `tests` in `tree`; `seconds`: of computing, and ten times that by the clock; `first`: stop at the first failure."""
    log = tree / "trial.log"
    pid = os.fork()
    if pid:
        return Trial(pid, time.monotonic() + 10 * seconds, log)
    code = 3
    try:
        os.setpgrp()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))
        with log.open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.chdir(tree)
        os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(tree))
        for name in [name for name in sys.modules if name == "tests" or name.startswith(("tests.", "fila_lab"))]:
            del sys.modules[name]
        import pytest

        options = [
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--no-header",
            f"--basetemp={tree / 'basetemp'}",
            "-m",
            "not slow and not studies",
        ]
        code = int(pytest.main([*options, *(["-x"] if first else []), *tests], plugins=list(plugins)))
    finally:
        sys.stdout.flush()
        os._exit(code)
