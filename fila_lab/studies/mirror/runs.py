"""Runs of the mirror as MLflow's public client reads and writes them: servers, and whatever database a URI names."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VALUE_LENGTH = 5000
"""Characters of a parameter or a tag that every MLflow of today takes."""
NAME_LENGTH = 250
AT_ONCE = 100
"""Parameters, and tags, that MLflow takes in one call."""
ALL_AT_ONCE = 1000
"""Values that it takes in one call, metrics included."""
_REFUSED = re.compile(r"[^\w\-. :/]")


class Value(NamedTuple):
    """One value of a metric; `time` in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int = 0


@dataclass(frozen=True)
class Shown:
    """A run as the mirror shows it."""

    id: str
    status: str
    tags: dict[str, str]


class Runs(Protocol):
    """Reads and writes the runs of one experiment."""

    def find(self, kind: str) -> list[Shown]:
        """Every run with this tag `kind` that is not deleted."""
        ...

    def begin(self, name: str, tags: Mapping[str, str], began: int | None = None) -> str:
        """A new run, RUNNING; its id."""
        ...

    def log(
        self, run: str, values: Sequence[Value] = (), parameters: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Add to a run; a tag that it has is replaced."""
        ...

    def end(self, run: str, status: str, ended: int | None = None) -> None:
        """Give a run its last status."""
        ...

    def delete(self, run: str) -> None:
        """Take a run out of the experiment."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """What is written in the block is written at once, where that can be."""
        ...


@functools.lru_cache(4096)
def safe_name(name: str) -> str:
    """A name as MLflow takes it for a metric or a parameter."""
    return _REFUSED.sub("_", name)[:NAME_LENGTH]


class ClientRuns:
    """`Runs` through MLflow's client."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self.client, self.experiment = client, experiment

    def find(self, kind: str) -> list[Shown]:
        """See `Runs`."""
        return list(self._pages(kind))

    def _pages(self, kind: str) -> Iterator[Shown]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], f"tags.kind = '{kind}'", max_results=1000, page_token=token)
            yield from (Shown(run.info.run_id, run.info.status, dict(run.data.tags)) for run in page)
            token = page.token
            if not token:
                return

    def begin(self, name: str, tags: Mapping[str, str], began: int | None = None) -> str:
        """See `Runs`."""
        return str(self.client.create_run(self.experiment, start_time=began, tags=dict(tags), run_name=name).info.run_id)

    def log(
        self, run: str, values: Sequence[Value] = (), parameters: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """See `Runs`."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(value.name, value.value, value.time, value.step) for value in values]
        params = [Param(name, value) for name, value in (parameters or {}).items()]
        marks = [RunTag(name, value) for name, value in (tags or {}).items()]
        while metrics or params or marks:
            room = ALL_AT_ONCE - len(params[:AT_ONCE]) - len(marks[:AT_ONCE])
            self.client.log_batch(run, metrics[:room], params[:AT_ONCE], marks[:AT_ONCE])
            metrics, params, marks = metrics[room:], params[AT_ONCE:], marks[AT_ONCE:]

    def end(self, run: str, status: str, ended: int | None = None) -> None:
        """See `Runs`."""
        self.client.set_terminated(run, status, end_time=ended)

    def delete(self, run: str) -> None:
        """See `Runs`."""
        self.client.delete_run(run)

    def together(self) -> AbstractContextManager[None]:
        """A server takes each call by itself."""
        return nullcontext()
