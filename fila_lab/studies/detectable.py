"""What a plan's seeds can show, family by family, at the noise its folder has measured or else an assumed one. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import variance

from fila_lab.config.power import ASSUMED_SD, minimal_detectable_effect, seeds_needed
from fila_lab.studies.plan import Plan
from fila_lab.studies.result import Outline


@dataclass(frozen=True)
class Detectable:
    """A family's contrasts, the seeds they need, the sd over seeds of their paired differences, and the smallest effect found with 80 %
    power (None where the seeds cannot be tested), both in the metric's units."""

    contrasts: int
    needed: int
    sd: float
    measured: bool
    effect: float | None


def detectable(plan: Plan, results: Mapping[str, Outline]) -> dict[str, Detectable]:
    """By family. results: of the folder, by cell; their noise counts from two paired seeds on.

    Holm's correction runs over what the study declares, arms that the budget leaves out included.
    """
    found = {}
    for name, declared in plan.study.families.items():
        run = plan.families.get(name)
        if not run:
            continue
        contrasts = len(declared.comparisons)
        sd = _noise(plan, results, run, declared.metric or plan.study.metric)
        used = ASSUMED_SD if sd is None else sd
        effect = minimal_detectable_effect(used, len(plan.seeds), contrasts)
        found[name] = Detectable(contrasts, seeds_needed(contrasts), used, sd is not None, effect)
    return found


def _noise(plan: Plan, results: Mapping[str, Outline], comparisons: Sequence[Sequence[str]], metric: str) -> float | None:
    """Root of the mean variance over seeds of a family's paired differences; None before any has two seeds."""
    values: dict[str, dict[int, float]] = {}
    for cell in plan.cells:
        result = results.get(cell.id)
        value = result.metrics.get(metric) if result is not None and result.status == "done" else None
        if value is not None:
            values.setdefault(cell.arm, {})[cell.seed] = value
    variances = []
    for arms in comparisons:
        own = [values.get(arm, {}) for arm in arms]
        signs = (1, -1) if len(arms) == 2 else (1, -1, -1, 1)
        paired = [sum(sign * arm[seed] for sign, arm in zip(signs, own, strict=True)) for seed in own[0] if all(seed in arm for arm in own)]
        if len(paired) > 1:
            variances.append(variance(paired))
    return math.sqrt(sum(variances) / len(variances)) if variances else None
