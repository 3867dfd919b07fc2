"""What cells save by training their first stages together, as a plan counts it. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fila_lab.config import RunConfig
from fila_lab.config.stage_runs import Stage, stage_mark, stages_of
from fila_lab.studies.rows import cell_flops, stage_flops


@dataclass(frozen=True)
class Shared:
    """A training stage, by its name: `cells` of them come to what is trained `times` times. saved: of how many cells the time is saved."""

    name: str
    cells: int
    times: int
    saved: float


def shared_stages(configs: Iterable[RunConfig]) -> tuple[Shared, ...]:
    """The stages that several of these cells share, in their order."""
    alike: dict[str, dict[str, list[tuple[RunConfig, Stage]]]] = {}
    for config in configs:
        for stage in stages_of(config)[:-1]:
            alike.setdefault(stage.name, {}).setdefault(stage_mark(config, stage), []).append((config, stage))
    found = []
    for name, by_mark in alike.items():
        groups = [group for group in by_mark.values() if len(group) > 1]
        if groups:
            saved = sum(_part(*one) for group in groups for one in group[1:])
            found.append(Shared(name, sum(map(len, groups)), len(groups), saved))
    return tuple(found)


def _part(config: RunConfig, stage: Stage) -> float:
    """The part of a cell's work that a stage is."""
    return stage_flops(config, stage) / cell_flops(config)
