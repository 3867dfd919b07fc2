"""Which share of a run's batch fits a device's memory at a time, in closed form: fewer rows a forward pass, and more passes a step."""

from __future__ import annotations

from typing import NamedTuple

from fila_lab.config.run import RunConfig
from fila_lab.config.stage_runs import stages_of
from fila_lab.cost.closed.memory import memory_bytes

USUAL = 80 * 2**30
"""Bytes of a device that nobody has named: a large GPU's."""
MANY = (2, 4, 8, 16, 32, 64)
"""Numbers of devices that are tried."""


class Passes(NamedTuple):
    """A step of a training stage (no name: of a run without stages) as `accumulate` forward passes of `batch_size` rows, all devices
    together: the rows of the run's own step."""

    stage: str
    batch_size: int
    accumulate: int


def fitting_passes(config: RunConfig, available_bytes: float) -> tuple[Passes, ...] | None:
    """The fewest passes a step with which a cell fits in `available_bytes` of each of its devices, stage by stage: the run's own where
    these fit. None where a stage fits with none."""
    found = []
    for stage in stages_of(config):
        run, rows = stage.run, stage.run.train.batch_size * stage.run.train.accumulate
        each = (Passes(stage.name, batch, rows // batch) for batch in _batches(run, rows))
        if (first := next((passes for passes in each if memory_bytes(_run(run, passes)) <= available_bytes), None)) is None:
            return None
        found.append(first)
    return tuple(found)


def fitting_devices(config: RunConfig, available_bytes: float) -> tuple[int, tuple[Passes, ...]] | None:
    """The fewest devices (`MANY`) on which it fits by `fsdp`, and its passes there; None where it does on none."""
    for devices in MANY:
        runtime = config.runtime.model_copy(update={"strategy": "fsdp", "devices": devices, "nodes": 1})
        if found := fitting_passes(config.model_copy(update={"runtime": runtime}), available_bytes):
            return devices, found
    return None


def advice(config: RunConfig, available_bytes: float, spread: bool = False) -> str:
    """With which `--set` a cell fits in `available_bytes` of each device, its steps the same: by more passes, by recomputing too, or else,
    with `spread`, by `fsdp` on more devices. Empty where it fits as it is; "nothing" where none of these helps."""
    if memory_bytes(config) <= available_bytes:
        return ""
    recomputing = config.model_copy(update={"runtime": config.runtime.model_copy(update={"checkpointing": True})})
    ways = [f"{as_overrides(config, found)}"] if (found := fitting_passes(config, available_bytes)) else []
    if not config.runtime.checkpointing and (found := fitting_passes(recomputing, available_bytes)):
        ways.append(f"--set runtime.checkpointing=true {as_overrides(config, found)}".strip())
    if not ways and spread and (most := fitting_devices(config, available_bytes)):
        devices, found = most
        ways.append(f"--set runtime.devices={devices} --set runtime.strategy=fsdp {as_overrides(config, found)}".strip())
    return ", or ".join(ways) or "nothing"


def as_overrides(config: RunConfig, passes: tuple[Passes, ...]) -> str:
    """The `--set` that make a run's steps so; empty where they are."""
    own = {stage.name: stage.run.train for stage in stages_of(config)}
    sets = []
    for stage, batch, accumulate in passes:
        where = f"train.stages.{stage}" if stage else "train"
        if (batch, accumulate) != (own[stage].batch_size, own[stage].accumulate):
            sets += [f"--set {where}.batch_size={batch}", f"--set {where}.accumulate={accumulate}"]
    return " ".join(sets)


def _batches(run: RunConfig, rows: int) -> list[int]:
    """Rows of a pass that may be, the run's own first: they divide the step's, and devices share them evenly. What takes a loss of the
    whole batch is not split."""
    train, world = run.train, run.runtime.world
    smaller = range(train.batch_size - 1, 0, -1) if not train.truth_weight else ()
    return [train.batch_size, *(batch for batch in smaller if rows % batch == 0 and batch % world == 0)]


def _run(run: RunConfig, passes: Passes) -> RunConfig:
    train = run.train.model_copy(update={"batch_size": passes.batch_size, "accumulate": passes.accumulate})
    return run.model_copy(update={"train": train})
