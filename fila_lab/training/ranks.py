"""A cell on several devices: one process a rank, joined by Lightning's strategy, watched by this one, which holds no device itself.

A rank that fails or dies, whichever and whenever, ends the others at once: waiting for a lost rank would hang them for half an hour.
Lightning would start ranks by running the command line again, which here is a study's driver and not the cell.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from fila_lab.config import ConfigError, MachineError, RunConfig
from fila_lab.config.runtime_checks import check_launched

log = logging.getLogger("fila_lab")

SETTLING = 3.0
"""Seconds in which other ranks may say what they know, once one has failed or gone."""
OF_A_PEER = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "store", "timed out")
"""Words (in lower case) of what a rank says when another has left it."""
OWN_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""What a process gives itself; others come from outside."""


def shared_out(config: RunConfig) -> bool:
    """Whether this process must start the cell's ranks; where something else (torchrun) has, it is one of them.

    Raises:
        MachineError: ranks on other machines, which only a launcher can start.
    """
    if config.runtime.shares == "nothing" or "LOCAL_RANK" in os.environ:
        return False
    try:
        check_launched(config.runtime)
    except ConfigError as error:
        raise MachineError(str(error), "launcher absent") from error
    return True


@dataclass
class _Rank:
    """A rank's process and what it has told: ("outcome", CellOutcome) or ("raised", exception)."""

    number: int
    process: subprocess.Popen[bytes]
    pipe: Connection
    told: tuple[str, Any] | None = None
    open: bool = True

    def lost(self) -> bool:
        """Whether it has gone without a word."""
        return self.told is None and self.process.poll() is not None and not (self.open and self.pipe.poll())

    def failed(self) -> bool:
        if self.told is None:
            return self.lost()
        kind, content = self.told
        return kind == "raised" or content.result["failure"] is not None

    def failure(self) -> str:
        """What it told of its failure."""
        assert self.told is not None
        kind, content = self.told
        return str(content) if kind == "raised" else str(content.result["failure"]["message"])

    def blame(self) -> int:
        """How near it stands to the cause of the end: 0 its own failure, 1 gone without a word, 2 left by another."""
        if self.told is None:
            return 1
        return 2 if any(word in self.failure().lower() for word in OF_A_PEER) else 0


def run_ranks(config: RunConfig, options: dict[str, Any], progress: Callable[[str, int, int], None] | None = None) -> Any:
    """Run the cell on all its ranks and hand on rank 0's outcome, or the first failure of any.

    options: further keyword arguments of `run_cell`.

    Raises:
        MachineError: a rank was ended from outside, or told of a fault of the machine.
        RuntimeError: a rank crashed.
    """
    world = config.runtime.devices
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    ranks: list[_Rank] = []
    try:
        for number in range(world):
            ranks.append(_start(number, place | {"LOCAL_RANK": str(number)}))
        for rank in ranks:
            others = {"checkpoint": None} if rank.number else {}  # one rank writes what the cell leaves
            _give(rank, (config.model_dump(mode="json"), options | others))
        while not any(rank.failed() for rank in ranks):
            if ranks[0].told is not None:
                return ranks[0].told[1]
            _listen(ranks, progress, 0.5)
        until = time.monotonic() + SETTLING
        while time.monotonic() < until and not all(rank.told or rank.lost() for rank in ranks):
            _listen(ranks, progress, 0.1)
        return _cause(ranks)
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.process.wait()
            rank.pipe.close()


def _cause(ranks: list[_Rank]) -> Any:
    """The outcome of the rank whose failure ended the cell, or its exception."""
    rank = min((rank for rank in ranks if rank.failed()), key=_Rank.blame)
    name = f"rank {rank.number} of {len(ranks)}"
    if rank.told is not None:
        kind, content = rank.told
        if kind == "raised":
            raise content
        content.result["failure"]["message"] = f"{name}: {rank.failure()}"
        return content
    code = rank.process.wait()
    if code >= 0:
        raise RuntimeError(f"{name} exited with code {code}")
    if -code in OWN_SIGNALS:
        raise RuntimeError(f"{name} died of signal {-code} ({signal.strsignal(-code)})")
    how = "by hand, or by the kernel when memory ran out" if code == -signal.SIGKILL else signal.strsignal(-code)
    raise MachineError(f"{name} was ended from outside (signal {-code}: {how}); free memory, then give the same command again", "rank lost")


def _start(number: int, place: dict[str, str]) -> _Rank:
    ours, theirs = socket.socketpair()
    # The interpreter's own search path: a strategy may come from a package that only this process knows.
    environment = {**os.environ, **place, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "fila_lab.training.rank", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,  # a terminal's Ctrl-C is this process's matter, also while a rank starts
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Rank(number, process, Connection(ours.detach()))


def _give(rank: _Rank, task: Any) -> None:
    try:
        rank.pipe.send(task)
    except OSError:  # it is gone already, which `lost` will tell
        rank.open = False


def _listen(ranks: list[_Rank], progress: Callable[[str, int, int], None] | None, seconds: float) -> None:
    """Take in what ranks say within `seconds`."""
    speaking = {rank.pipe: rank for rank in ranks if rank.open}
    for pipe in wait(list(speaking), timeout=seconds):
        rank = speaking[pipe]  # type: ignore[index]
        try:
            kind, *content = rank.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            rank.open = False
            continue
        if kind == "progress" and rank.number == 0 and progress is not None:
            progress(*content)
        elif kind == "warned" and rank.number == 0:
            log.warning("%s", content[0])
        elif kind in ("outcome", "raised"):
            rank.told = (kind, content[0])
    if not speaking:
        time.sleep(seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
