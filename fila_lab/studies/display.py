"""What a running study shows: a bar with the time left and a line per worker on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fila_lab.config.cell_checks import FAILED, PRUNED
from fila_lab.config.texts import one_line
from fila_lab.studies.engines.base import Event, Finished, Restarted, Started, Undone, Warned
from fila_lab.studies.engines.base import Progress as CellProgress

LOG_SECONDS = 30.0
MESSAGE = 300
"""Characters of a failure that a line shows; the result keeps it whole."""


def clock(seconds: float) -> str:
    """`75` -> `1:15`, `4000` -> `1:06:40`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Forecast:
    """Time left from measured cell times: each arm by its own mean, an arm not yet seen by the mean of all. It is asked at every event, so
    it counts cells by arm rather than looking at each."""

    def __init__(self, arms: Mapping[str, str], workers: int) -> None:
        self.arms = dict(arms)
        self.workers = workers
        self.running: dict[str, float] = {}
        self._left: dict[str, int] = {}
        self._ids: set[str] = set()
        self._seconds: dict[str, tuple[int, float]] = {}

    def expects(self, cell_id: str) -> bool:
        """Whether a cell is to run."""
        return cell_id in self._ids

    def expect(self, cell_id: str) -> None:
        """A cell is to run."""
        if cell_id not in self._ids:
            self._ids.add(cell_id)
            self._left[self._arm(cell_id)] = self._left.get(self._arm(cell_id), 0) + 1

    def leave(self, cell_id: str) -> None:
        """It does not run any more."""
        self.running.pop(cell_id, None)
        if cell_id in self._ids:
            self._ids.remove(cell_id)
            self._left[self._arm(cell_id)] -= 1

    def measure(self, cell_id: str, seconds: float) -> None:
        """A cell took this long."""
        count, total = self._seconds.get(self._arm(cell_id), (0, 0.0))
        self._seconds[self._arm(cell_id)] = count + 1, total + seconds

    def _arm(self, cell_id: str) -> str:
        return self.arms.get(cell_id, "")

    def seconds_left(self) -> float | None:
        """None while nothing is measured."""
        if not self._seconds:
            return None
        overall = sum(total for _, total in self._seconds.values()) / sum(count for count, _ in self._seconds.values())
        expected = {arm: total / count for arm, (count, total) in self._seconds.items()}
        now, waiting, under_way = time.monotonic(), dict(self._left), []
        for cell_id in self.running.keys() & self._ids:
            waiting[self._arm(cell_id)] -= 1
            under_way.append(max(0.0, expected.get(self._arm(cell_id), overall) - (now - self.running[cell_id])))
        each = {arm: expected.get(arm, overall) for arm, count in waiting.items() if count}
        left = sum(under_way) + sum(waiting[arm] * seconds for arm, seconds in each.items())
        return max(left / self.workers, max((*under_way, *each.values()), default=0.0))


class Display:
    """Context manager; `update` takes the engine's events, `add` announces cells."""

    def __init__(
        self, title: str, arms: Mapping[str, str], seeds: Mapping[str, int | None], workers: int, console: Console | None = None
    ) -> None:
        self.console = console or Console(stderr=True)
        self.title = title
        self.arms, self.seeds = dict(arms), dict(seeds)
        self.forecast = Forecast(self.arms, workers)
        self.done = 0
        self.failures = 0
        self.pruned = 0
        self.undone = 0
        self.total = 0
        self._of_cells = False
        self._doing: dict[int, str] = {}
        self._began = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._overall: TaskID | None = None
        self._lines: dict[int, TaskID] = {}

    def add(self, cell_id: str, arm: str, seed: int | None) -> None:
        """One more cell to run, unless it is waited for already: trials may be one cell. Work that is no cell has no seed."""
        if self.forecast.expects(cell_id):
            return
        self.arms[cell_id] = self.forecast.arms[cell_id] = arm
        self.seeds[cell_id] = seed
        self.forecast.expect(cell_id)
        self.total += 1
        self._of_cells |= seed is not None

    def say(self, message: str) -> None:
        """A line above the bar."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def update(self, event: Event) -> None:
        """Show what happened."""
        if isinstance(event, Started):
            self.forecast.running[event.id] = time.monotonic()
            self._doing[event.worker] = f"{self._name(event.id)} starts"
        elif isinstance(event, CellProgress):
            self._doing[event.worker] = f"{self._name(event.id)} {event.phase} {event.step}/{event.total}"
        elif isinstance(event, Restarted):
            self.forecast.running.pop(event.id, None)
            self.say(f"{self._name(event.id)}: {event.reason}; its cell is tried once more")
        elif isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Undone):
            self._leave(event.id, event.worker)
            self.undone += 1
        elif isinstance(event, Warned):
            self.say(f"warning: {event.message}")
        if self._bar is not None:
            self._draw()
        elif time.monotonic() - self._last_line >= LOG_SECONDS:
            self._last_line = time.monotonic()
            self.say(self._summary() + "".join(f" | {text}" for text in self._doing.values()))

    def _finish(self, event: Finished) -> None:
        self._leave(event.id, event.worker)
        self.done += 1
        if event.result.get("status") == FAILED:
            self.failures += 1
            failure = event.result.get("failure") or {}
            self.say(f"{self._name(event.id)} failed ({failure.get('kind')}): {_cut(str(failure.get('message')))}")
        else:  # a pruned cell is shorter, and so will others be that are left
            self.pruned += event.result.get("status") == PRUNED
            self.forecast.measure(event.id, event.finished - event.started)

    def _leave(self, cell_id: str, worker: int) -> None:
        self.forecast.leave(cell_id)
        self._doing.pop(worker, None)

    def _name(self, cell_id: str) -> str:
        arm, seed = self.arms.get(cell_id, cell_id), self.seeds.get(cell_id)
        return one_line(arm) if seed is None else f"{one_line(arm)} seed {seed}"

    def _losses(self) -> str:
        counts = {"pruned": self.pruned, "failed": self.failures, "undone": self.undone}
        return "".join(f", {count} {what}" for what, count in counts.items() if count)

    def _summary(self) -> str:
        if not self._of_cells:
            return self.title
        left = self.forecast.seconds_left()
        return f"{self.title}: {self.done}/{self.total} cells{self._losses()}, " + (
            f"{clock(left)} left" if left is not None else "time left not known yet"
        )

    def _draw(self) -> None:
        bar = self._bar
        assert bar is not None
        assert self._overall is not None
        left = self.forecast.seconds_left()
        note = f"{self.done}/{self.total}" if self._of_cells else ""
        note += f", {clock(left)} left" if left is not None else ""
        bar.update(self._overall, total=max(self.total, 1), completed=self.done, note=note)
        for worker in sorted(self._doing):
            if worker not in self._lines:
                self._lines[worker] = bar.add_task("", total=None, note="")
        for worker, task in self._lines.items():
            text = self._doing.get(worker, "waits")
            head, _, fraction = text.rpartition(" ")
            step, _, total = fraction.partition("/")
            counted = step.isdigit() and total.isdigit() and int(total) > 0
            note = fraction if counted else ""
            bar.update(
                task,
                description=f"  {head if counted else text}",
                completed=int(step) if counted else 0,
                total=int(total) if counted else 1,
                note=note,
            )

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[note]}", markup=False),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.start()
            self._overall = self._bar.add_task(self.title, total=None, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if not self.total:
            return
        seconds = clock(time.monotonic() - self._began)
        done = f"{self.done} of {self.total} done" if self._of_cells or not self.done else "done"
        self.say(f"{self.title}: {done} in {seconds}{self._losses()}")


def _cut(message: str) -> str:
    return message if len(message) <= MESSAGE else f"{message[:MESSAGE]}..."
