"""First training stages that several cells share, and so are trained once: their names in the cache, and the jobs that train them.
Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fila_lab.config import RunConfig
from fila_lab.config.stage_runs import ENDS
from fila_lab.studies.claim import workdir
from fila_lab.studies.engines import Job
from fila_lab.studies.identity import stage_ids

STAGE_FUNCTION = "fila_lab.training:train_shared"


class SharedStages:
    """The shared stages of a study's cells.

    Args:
        cache: where their ends lie, for all studies.
        root: the study's folder; the work in progress lies there, as that of cells.
        code: the hash of the code, part of their ids.
        function: which trains them; None: nothing is trained beforehand.
    """

    def __init__(self, cache: Path, root: Path, code: str, function: str | None = STAGE_FUNCTION) -> None:
        self.cache, self.root, self.code, self.function = cache, root, code, function
        self._known: dict[str, dict[int, tuple[str, ...]]] = {}

    def ids(self, config: RunConfig) -> tuple[str, ...]:
        """For each of its training stages but the last the id of what it and those before it come to."""
        return self._ids([config])[0] if config.train.stages is not None else ()

    def ends(self, config: RunConfig) -> tuple[Path, ...]:
        """Where the ends of its training stages but the last may lie."""
        return tuple(self._place(name) for name in self.ids(config))

    def rounds(self, configs: Iterable[RunConfig]) -> Iterator[list[Job]]:
        """Jobs for the stages that several of these cells share and whose ends are not there; those of one round can run at once, and go
        on from the rounds before."""
        staged = [config for config in configs if config.train.stages is not None and len(config.train.stages) > 1]
        if self.function is None or not staged:
            return
        ids = self._ids(staged)
        for number in range(max(map(len, ids))):
            wanting = [
                (config, own)
                for config, own in zip(staged, ids, strict=True)
                if number < len(own) and not any(self._place(name).exists() for name in own[number:])
            ]
            times = Counter(own[number] for _, own in wanting)
            jobs = {own[number]: self._job(config, own, number) for config, own in wanting if times[own[number]] > 1}
            if jobs:
                yield list(jobs.values())

    def _job(self, config: RunConfig, own: tuple[str, ...], number: int) -> Job:
        name = own[number]
        options = {"number": number, "final": self._place(name), "ends": tuple(self._place(each) for each in own[:number])}
        return Job(name, config, workdir(self.root, self.code, name), self.cache, options, self.function or STAGE_FUNCTION)

    def _place(self, name: str) -> Path:
        return self.cache / ENDS / name

    def _ids(self, configs: Sequence[RunConfig]) -> list[tuple[str, ...]]:
        """The ids of each of these cells; what cells have in common but for the seed is looked at once."""
        seeds: dict[str, list[RunConfig]] = {}
        for config in configs:
            seeds.setdefault(_but_for_the_seed(config), []).append(config)
        for key, alike in seeds.items():
            known = self._known.setdefault(key, {})
            if new := [config.seed for config in alike if config.seed not in known]:
                known |= stage_ids(alike[0], new, self.code)
        return [self._known[_but_for_the_seed(config)][config.seed] for config in configs]


def _but_for_the_seed(config: RunConfig) -> str:
    return config.model_dump_json(exclude={"seed"})
