"""Seconds a training step takes, for `equalise: time`: declared, kept by the folder's plan, or read from timed cells. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fila_lab.config import RunConfig, StudyConfig, config_hash
from fila_lab.config.stage_runs import total_steps
from fila_lab.studies.arms import Overrides, baseline, get_budget, resolve_arm
from fila_lab.studies.folder import read_head
from fila_lab.studies.store import ResultStore

PUBLISHED = Path("experiments/results")
"""Folders of published results, below the working directory."""


def find_step_seconds(
    study: StudyConfig, budget: str, out: Path, overrides: Overrides | None = None, published: Path = PUBLISHED
) -> dict[str, float] | None:
    """Arm -> seconds a step, from the first source that has every arm of the budget and the baseline: arms timed on different machines
    are not comparable.

    Sources: the study's `step_seconds`; what the folder's plan was resolved with (kept, so that later runs plan the same cells); the
    folder's timed cells; those of published results. None where no source has them all, or nothing is equalised by time.
    """
    if study.equalise != "time":
        return None
    arms = {baseline(study), *(get_budget(study, budget).arms or study.arms)}
    if arms <= set(study.step_seconds):
        return study.step_seconds
    kept = (read_head(out) or {}).get("step_seconds") or {}
    if arms <= set(kept):
        return {arm: float(seconds) for arm, seconds in kept.items()}
    plain = study.model_copy(update={"equalise": "steps"})
    wanted = {arm: _work(resolve_arm(plain, budget, arm, 0, overrides)[0]) for arm in arms}
    for folder in (out, *(sorted(path for path in published.iterdir() if path.is_dir()) if published.is_dir() else ())):
        timed = _timed(folder)
        if set(wanted.values()) <= set(timed):
            return {arm: timed[work] for arm, work in wanted.items()}
    return None


def _timed(folder: Path) -> dict[str, float]:
    """What a step does -> its median seconds over the folder's finished cells, validations during training included."""
    times: dict[str, list[float]] = {}
    for work, seconds in _steps(folder):
        times.setdefault(work, []).append(seconds)
    return {work: statistics.median(seconds) for work, seconds in times.items()}


def _steps(folder: Path) -> Iterator[tuple[str, float]]:
    for result in ResultStore(folder).results().values():
        seconds = result.timing.get("train")
        if result.status != "done" or not seconds:
            continue
        try:
            config = RunConfig.model_validate(result.config)
        except ValidationError:  # of another version
            continue
        if steps := total_steps(config) or max((point.step for point in result.curve), default=0):
            yield _work(config), seconds / steps


def _work(config: RunConfig) -> str:
    """A hash of what decides how long a step takes."""
    rooms: dict[str, Any] = dict.fromkeys(("geometry", "vit", "convnext", "fusion", "projector", "language", "runtime"), True)
    return config_hash(config.model_dump(mode="json", include=rooms | {"train": {"batch_size", "accumulate", "stages"}}))
