"""Training stages that cannot work in their run, each refused with a remedy. Imports no torch."""

from __future__ import annotations

from fila_lab.config.base import ConfigError
from fila_lab.config.run import RunConfig
from fila_lab.config.stage_runs import stages_of
from fila_lab.config.stages import PARTS, Part, may_train, part_trains
from fila_lab.config.strategies import has_convnext, has_vit


def check_stages(config: RunConfig) -> None:
    """Raise ConfigError for the first that does not fit the run; patterns are compared with the names of parameters by the model."""
    declared = config.train.stages
    for stage in stages_of(config):
        accumulate, weight = stage.run.train.accumulate, config.train.truth_weight
        if accumulate > 1 and weight:
            where = f"{stage.field}.accumulate" if stage.name else "train.accumulate"
            raise ConfigError(
                f"{where} = {accumulate} splits a batch, of which train.truth_weight = {weight:g} takes a loss as a whole; set one back"
            )
    if declared is None:
        return
    names = [one.name.casefold() for one in declared]
    if twice := next((one.name for one in declared if names.count(one.name.casefold()) > 1), None):
        raise ConfigError(
            f"train.stages: two are called {twice!r}, capitals or not, by which curves and checkpoints know them; name them apart"
        )
    there = _parts(config)
    for number, one in enumerate(declared):
        if not any(may_train(entry, part) for entry in one.trains for part in there):
            raise ConfigError(
                f"train.stages.{number}.trains = [{', '.join(one.trains)}]: the stage {one.name!r} trains nothing, for this run has "
                f"only {', '.join(there)}; name one of them"
            )
    if "fusion" in there and not part_trains(declared, "fusion"):
        raise ConfigError(
            f"train.stages: none trains fusion, so fusion.name = {config.fusion.name!r} would change nothing; name fusion in one, "
            "or set fusion.name=none"
        )


def _parts(config: RunConfig) -> tuple[Part, ...]:
    """The parts that a run has."""
    without: set[Part] = set() if has_convnext(config) else {"convnext"}
    if not has_vit(config):
        without.add("vit")
    if config.fusion.name == "none":
        without.add("fusion")
    return tuple(part for part in PARTS if part not in without)
