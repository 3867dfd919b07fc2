"""What a plan will cost before it runs: time, memory, cache; what is done already; what its seeds can show. Imports no torch."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fila_lab.config import RunConfig, Sweep, Tuning
from fila_lab.config.base import ConfigError
from fila_lab.config.space_points import combinations, examples, middle
from fila_lab.config.strategies import has_convnext
from fila_lab.config.yaml_files import read_yaml
from fila_lab.cost.closed.components import component_costs, feature_bytes, item_bytes
from fila_lab.cost.closed.fitting import advice
from fila_lab.cost.closed.memory import check_memory, memory_bytes
from fila_lab.studies.detectable import Detectable, detectable
from fila_lab.studies.plan import Plan
from fila_lab.studies.result import Outline
from fila_lab.studies.rows import cell_flops, stored_rows
from fila_lab.studies.savings import Shared, shared_stages
from fila_lab.studies.searches.trials import sweep_run, tuning_run
from fila_lab.studies.store import ResultStore

CPU_RATE = 40e9
"""FLOP/s a CPU thread is assumed to reach, until cells of the study have been timed."""
GPU_RATE = 50e12
PAGE_SECONDS = 0.009
"""Processor seconds a page of `mini` takes to draw, measured over 80 pages of the train split on one core."""
START_SECONDS = 8.0
"""What a process takes to import the libraries on one core, before it does anything: one prepares, then the workers start side by side."""
DRAWN = 24
"""Trials by which a sweep's time is estimated."""
DRAWN_BY_A_SEED = {"train_items", "train_tasks", "val_items"}
"""What a seed takes of a pool; the pool, and so what is cached of it, is the same."""


@dataclass(frozen=True)
class ArmProgress:
    """One arm of the plan: cells done, failed and left; `seconds` a cell takes, `measured` or assumed."""

    arm: str
    done: int
    failed: int
    left: int
    seconds: float
    measured: bool
    memory_bytes: float


@dataclass(frozen=True)
class Estimate:
    """A plan's account. Seconds are wall-clock with `workers` workers; memory is for all of them; the cache is for the whole study."""

    arms: tuple[ArmProgress, ...]
    search_left: int
    seconds_left: float
    seconds_features: float
    memory_bytes: float
    cache_bytes: float
    workers: int
    detectable: dict[str, Detectable]
    shared: tuple[Shared, ...] = ()
    """First training stages that several of the cells left share: trained once, and so counted."""

    @property
    def measured(self) -> bool:
        """Whether every arm with cells left has been timed here."""
        return all(arm.measured for arm in self.arms if arm.left) and not (self.search_left and not any(arm.measured for arm in self.arms))


def estimate(plan: Plan, out: Path | None = None, workers: int = 1) -> Estimate:
    """Account for a plan, given what the result folder holds. `detectable`: by family, what its seeds can show."""
    results = ResultStore(out).outlines() if out is not None else {}
    arms = tuple(_arm(plan, arm, results) for arm in plan.arms)
    planned = {cell.id for cell in plan.cells}
    seeds = plan.search.seeds if plan.search is not None else ()
    tried = sum(1 for key, result in results.items() if key not in planned and result.seed in seeds)
    search_left = max(0, plan.tuning_cells + plan.sweep_cells - tried) if plan.provisional else 0
    shared = shared_stages([cell.config for cell in plan.cells if cell.id not in results])
    seconds, left = sum(arm.left * arm.seconds for arm in arms), sum(arm.left for arm in arms)
    seconds -= sum(stage.saved for stage in shared) * seconds / max(1, left)
    drawn = _drawn(plan) if plan.sweep_cells and plan.provisional else []
    if search_left:
        seconds += search_left * (_mean(drawn) if drawn else _tuning_seconds(plan, arms))
    first = {(cell.arm, cell.config.pair): cell.config for cell in plan.cells}  # what else an arm's cells differ in is their seed
    features, cache = _features([*first.values(), *drawn], computed=bool(results))
    return Estimate(
        arms=arms,
        search_left=search_left,
        seconds_left=(seconds + features) / workers + (2 * START_SECONDS if seconds else 0.0),
        seconds_features=features / workers,
        memory_bytes=workers * max(arm.memory_bytes for arm in arms),
        cache_bytes=cache,
        workers=workers,
        detectable=detectable(plan, results),
        shared=shared,
    )


def check_memory_of(plan: Plan, workers: int, force: bool = False) -> list[str]:
    """Refuse a plan with cells that this machine's memory cannot hold, one at a time or `workers` at a time; `force`: return the messages
    instead. GPUs are asked for their memory where nvidia-smi is; where it is not, a GPU's cells are not judged."""
    runs = {f"arm {arm!r}": next(cell.config for cell in plan.cells if cell.arm == arm) for arm in plan.arms}
    if plan.provisional and plan.sweep_cells:
        largest = max(_drawn(plan), key=memory_bytes, default=None)  # of a space's largest trials one is among those drawn, or near
        runs |= {} if largest is None else {"a trial of the sweep": largest}
    messages = []
    for name, config in runs.items():
        there = usable_memory(config.runtime.accelerator)
        if there is None:
            continue
        needed, message = cell_memory(config), check_memory(config, there)
        if message is None and config.runtime.accelerator == "cpu" and workers * needed > there:
            who = f"{workers} workers need" if needed <= there else f"the {config.runtime.devices} processes of a cell need"
            message = f"{who} about {(workers if needed <= there else 1) * needed / 2**30:.1f} GiB and {there / 2**30:.1f} GiB are there: "
            message += f"use --workers {int(there // needed)}" if needed <= there else "lower runtime.devices"
        elif message is not None and (held := advice(config, there, spread=config.runtime.accelerator == "gpu")) != "nothing":
            message += f"; with the same steps it fits by {held}"
        if message is not None:
            messages.append(f"{name}: {message}")
    if messages and not force:
        raise ConfigError(f"{messages[0]}; --force goes on in spite of it")
    return messages


def cell_memory(config: RunConfig) -> float:
    """Bytes of a cell on one machine: all its devices there together."""
    return config.runtime.devices * memory_bytes(config)


def usable_memory(accelerator: str) -> float | None:
    """Bytes of this machine's memory, or of what its control group leaves it; of one GPU, if nvidia-smi tells."""
    if accelerator == "gpu":
        if shutil.which("nvidia-smi") is None:
            return None
        asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        told = subprocess.run(asked, capture_output=True, text=True).stdout.split()
        return min(float(mebibytes) for mebibytes in told) * 2**20 if told and all(word.isdigit() for word in told) else None
    total = float(psutil.virtual_memory().total)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:
        return total
    return min(total, float(limit)) if limit.isdigit() else total


def known_winners(out: Path) -> dict[str, dict[str, Any]] | None:
    """The winners a finished tuning phase left in the folder; None when there are none."""
    path = out / "tuning" / "winners.yaml"
    if not path.is_file():
        return None
    try:
        return {str(arm): dict(values) for arm, values in read_yaml(path)["winners"].items()}
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None


def cell_seconds(config: RunConfig, test: bool = True) -> float:
    """Seconds of one cell at the assumed rate: training, validations and the test pool (tuning cells leave it alone); frozen
    features of items that are drawn come from the cache, unless the run goes without. Reading files is not in it."""
    return cell_flops(config, test) / _rate(config)


def _rate(config: RunConfig) -> float:
    runtime = config.runtime
    return (CPU_RATE * runtime.threads if runtime.accelerator == "cpu" else GPU_RATE) * runtime.world


def _arm(plan: Plan, arm: str, results: Mapping[str, Outline]) -> ArmProgress:
    cells = [cell for cell in plan.cells if cell.arm == arm]
    found = [results[cell.id] for cell in cells if cell.id in results]
    failed = sum(result.status == "failed" for result in found)
    times = [total for result in found if result.status == "done" and (total := result.timing.get("total"))]
    config = cells[0].config
    return ArmProgress(
        arm=arm,
        done=len(found) - failed,
        failed=failed,
        left=len(cells) - len(found),
        seconds=sum(times) / len(times) if times else cell_seconds(config),
        measured=bool(times),
        memory_bytes=cell_memory(config),
    )


def _tuning_seconds(plan: Plan, arms: tuple[ArmProgress, ...]) -> float:
    """Mean seconds of a tuning cell: the main cell's time, scaled by what the trial's configuration costs beside it."""
    assert isinstance(plan.search, Tuning)
    space = plan.search.dimensions
    typical = middle(space) or next(combinations(space, examples(space)))
    seconds = []
    for arm in arms:
        main = next(cell.config for cell in plan.cells if cell.arm == arm.arm)
        trial = tuning_run(plan.study, plan.budget, arm.arm, typical, plan.overrides, plan.step_seconds)
        seconds.append(arm.seconds * cell_seconds(trial, test=False) / cell_seconds(main))
    return sum(seconds) / len(seconds)


def _drawn(plan: Plan) -> list[RunConfig]:
    """Runs of trials that are drawn from a sweep's space and can run: they stand for the trials it will ask."""
    assert isinstance(plan.search, Sweep)
    found: list[RunConfig] = []
    space, stream = plan.search.dimensions, random.Random(0)
    some = examples(space)
    for number in range(2 * DRAWN):
        parameters = next(combinations(space, {path: (stream.choice(values),) for path, values in some.items()}))
        try:
            found.append(sweep_run(plan.study, plan.budget, plan.search, number, parameters, plan.overrides))
        except ConfigError:
            continue
        if len(found) == DRAWN:
            break
    return found


def _mean(runs: list[RunConfig]) -> float:
    """Mean seconds of a sweep's cell at the assumed rate."""
    return sum(cell_seconds(run, test=False) for run in runs) / len(runs)


def _features(runs: Iterable[RunConfig], computed: bool) -> tuple[float, float]:
    """(seconds of drawing pages and of the frozen ConvNeXt's features, bytes of both): once for each distinct input and set of weights,
    not once an arm. Rows of files are read whenever they are asked for, and no cache holds their features."""
    caches: dict[tuple[str, ...], RunConfig] = {}
    pools: dict[tuple[str, str], RunConfig] = {}
    for run in runs:
        drawn = run.data.model_dump_json(exclude=DRAWN_BY_A_SEED)
        pools[repr(run.geometry), drawn] = run
        if not has_convnext(run) or run.convnext.trainable or not run.runtime.feature_cache:
            continue
        weights = "random" if run.fusion.control == "random_weights" else run.convnext.weights
        shown = (run.fusion.detail_resolution, run.fusion.detail_context)
        caches[(repr(run.geometry), drawn, repr(run.convnext), weights, *shown)] = run
    seconds = sum(stored_rows(run) * component_costs(run)["convnext"].flops / _rate(run) for run in caches.values())
    seconds += sum(stored_rows(run) * PAGE_SECONDS for run in pools.values())
    stored = sum(stored_rows(run) * feature_bytes(run) for run in caches.values())
    stored += sum(stored_rows(run) * item_bytes(run) for run in pools.values())
    return (0.0 if computed else seconds), stored
