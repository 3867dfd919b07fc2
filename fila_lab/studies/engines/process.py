"""The engine of one machine: persistent worker processes, each with its own threads, replaced when they die."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

from fila_lab.studies.engines.base import Job, Listener, Started, Tick
from fila_lab.studies.engines.loss import Loss, after_loss
from fila_lab.studies.engines.messages import BEGUN, FINISHED, event_of

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS})
"""Signals that a process brings on itself. The others come from outside: SIGKILL by hand or from the kernel when the machine's memory ran
out, SIGBUS where a mapped file was cut, SIGTERM and its like from a scheduler."""


@dataclass
class Worker:
    """A running worker process and what it is doing."""

    number: int
    threads: int
    log: Path
    job: Job | None = None
    started: float = 0.0
    begun: bool = False
    """Whether it has taken the job up."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment, beside or instead of this process's."""
    folder: Path | None = None
    """Its working directory; None: this process's."""
    pipe: Connection = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        # The interpreter's own search path, and thread counts that must be set before any numeric library loads.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        environment |= {**self.variables, **dict.fromkeys(THREAD_VARIABLES, str(self.threads))}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fila_lab.studies.engines.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        theirs.close()
        self.pipe = Connection(ours.detach())

    def give(self, job: Job) -> None:
        self.job, self.started, self.begun = job, time.time(), False
        self.pipe.send(job)

    def end(self) -> None:
        """Kill the worker and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.pipe.close()

    def dead(self) -> bool:
        """Whether it has ended, asked of the system: a process it forked may keep the pipe open."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def loss(self) -> Loss:
        """Why it died, in words: the signal or exit code, and the last line it logged."""
        code = self.process.wait()
        if code == -signal.SIGKILL:
            how = "was killed (signal 9: by hand, or by the kernel when memory ran out)"
        elif code < 0:
            how = f"died of signal {-code} ({signal.Signals(-code).name})" if -code in set(signal.Signals) else f"died of signal {-code}"
        else:
            how = f"exited with code {code}"
        lines = self.log.read_text(errors="replace", encoding="utf-8").strip().splitlines() if self.log.exists() else []
        reason = f"worker {self.number} {how}" + (f"; last logged: {lines[-1][:300]}" if lines else "")
        return Loss(reason, self.begun, code >= 0 or -code in CRASHES, str(self.log))


class ProcessEngine:
    """`workers` processes on this machine; `logs` is the folder for their output."""

    name = "process"

    def __init__(self, workers: int, logs: Path) -> None:
        self.workers = workers
        self.logs = logs
        self._pool: dict[int, Worker] = {}

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """See `Engine.run`."""
        attempts: dict[str, int] = {}
        while queue or any(worker.job for worker in self._pool.values()):
            for number in range(self.workers):
                if queue and (number not in self._pool or self._pool[number].job is None):
                    self._hand_out(number, queue.popleft(), attempts, queue, listener)
            by_handle: dict[object, Worker] = {worker.pipe: worker for worker in self._pool.values()}
            ready = wait([worker.pipe for worker in self._pool.values()], timeout=1.0)
            if not ready:
                listener(Tick())
            for handle in ready:
                self._receive(by_handle[handle], attempts, queue, listener)
            for worker in [worker for worker in self._pool.values() if worker.dead() and not worker.pipe.poll()]:
                self._lost(worker, attempts, queue, listener)

    def _hand_out(self, number: int, job: Job, attempts: dict[str, int], queue: deque[Job], listener: Listener) -> None:
        worker = self._pool.get(number)
        threads = job.config.runtime.threads
        if worker is not None and worker.threads != threads:
            self._pool.pop(number).end()
            worker = None
        if worker is None:
            worker = self._pool[number] = Worker(number, threads, self.logs / f"worker-{number}.log")
        attempts[job.id] = attempts.get(job.id, 0) + 1
        listener(Started(job.id, number))
        try:
            worker.give(job)
        except (BrokenPipeError, ConnectionError):
            self._lost(worker, attempts, queue, listener)

    def _receive(self, worker: Worker, attempts: dict[str, int], queue: deque[Job], listener: Listener) -> None:
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, OSError):
            self._lost(worker, attempts, queue, listener)
            return
        job = worker.job
        assert job is not None
        if kind == BEGUN:
            worker.begun = True
        elif kind == FINISHED:
            worker.job = None
            listener(content[0].event(job.id, worker.number))
        elif (event := event_of(job.id, worker.number, (kind, *content))) is not None:
            listener(event)

    def _lost(self, worker: Worker, attempts: dict[str, int], queue: deque[Job], listener: Listener) -> None:
        """The worker is gone: clear what it left and see to its cell."""
        self._pool.pop(worker.number, None)
        worker.end()
        if (job := worker.job) is not None:
            listener(after_loss(job, worker.number, worker.loss(), attempts[job.id], worker.started, queue))

    def __enter__(self) -> ProcessEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._pool.values():
            worker.end()
        self._pool.clear()
