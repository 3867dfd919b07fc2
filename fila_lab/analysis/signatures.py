"""Failure signatures: which stated rules a study's numbers trip, which found nothing, and which could not be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from fila_lab.analysis import frame as frames
from fila_lab.analysis import signature_rules as rules
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.signature_rules import Sign
from fila_lab.analysis.tables import Table


@dataclass(frozen=True)
class Rule:
    """A signature's name, its rule in words, what to do about it, and the function that applies it.

    `check` returns where the rule fires, or as text why it could not be checked.
    """

    name: str
    says: str
    remedy: str
    check: Callable[[Findings], list[Sign] | str]


@dataclass(frozen=True)
class Outcome:
    """One rule applied to one study. `unchecked`: why it could not be, else empty."""

    rule: Rule
    signs: tuple[Sign, ...] = ()
    unchecked: str = ""


RULES: tuple[Rule, ...] = (
    Rule(
        "seam errors",
        "where the arm without fusion has a seam gap (95 % interval above zero), a fusion's gap is not smaller than it, or an arm's "
        "fragmentation error rate is above it (95 % interval of the paired difference above zero)",
        "the fusion may be misaligned: compare with the control `shifted`, check `geometry.detail_cells` and `fusion.resample`, look at "
        "the flipped triplets",
        rules.seam_errors,
    ),
    Rule(
        "out of memory",
        "a cell failed with this cause, or its worker was killed as the kernel does when memory runs out",
        "lower `geometry.detail_cells`, `train.batch_size` or `--workers`, or set `runtime.checkpointing=true`; `fila-lab plan` estimates "
        "the memory",
        rules.out_of_memory,
    ),
    Rule(
        "over-fusion",
        "on a family without fine detail an arm loses more than the margin to the arm without fusion, 95 % interval below zero",
        "fuse less: `fusion.depth=last`, a gate (`fusion.gate=true`), a smaller `fusion.hidden`; or train on more items of that family",
        rules.over_fusion,
    ),
    Rule(
        "a control that also gains",
        "a control's gain over the arm without fusion has its 95 % interval above zero (`oracle_map` must gain, and is left out)",
        "count only what the fusion gains beyond the control",
        rules.gaining_controls,
    ),
    Rule(
        "blind instrument",
        "`oracle_map`, the truth as detail map, does not gain: the 95 % interval of its difference is not above zero",
        "no arm can be judged here: train longer, or mend the items, before anything is compared",
        rules.blind_instrument,
    ),
    Rule(
        "under-trained baseline",
        "its validation accuracy rises so fast between its last two validations that, on a straight line over the logarithm of the steps, "
        f"{rules.MORE_STEPS - 1:.0%} more steps would add more than the margin (95 % interval over seeds above zero). A saturating curve "
        "adds less, and part of the rise is the falling learning rate",
        "raise `train.steps` for all arms and see whether the contrasts hold",
        rules.undertrained_baseline,
    ),
    Rule(
        "tuned value at the edge of its range",
        f"the value an arm ran with lies in the outer {frames.EDGE:.0%} of its searched range (log scale), or no trial lies beyond it",
        "a better value may lie outside what was tried: widen `tuning.space` and search again, for every arm",
        rules.tuned_edges,
    ),
    Rule(
        "floor or ceiling",
        f"an arm's mean accuracy on a family lies outside {rules.FLOOR:.0%} to {rules.CEILING:.0%} (`oracle_map` left out)",
        "differences there are compressed: read the logit scale (verdicts show it for the primary metric), or change the difficulty",
        rules.extremes,
    ),
    Rule(
        "seed instability",
        f"the standard deviation of the primary metric over seeds is more than {rules.SPREAD:g} times that of as many independent items as "
        "the test pool has, sqrt(p (1 - p) / n)",
        "look at the learning curves of the outlying seeds; lower the learning rate or lengthen `train.warmup`; add seeds",
        rules.unstable_seeds,
    ),
)


def check_signatures(found: Findings) -> list[Outcome]:
    """Every rule, in the order of RULES. These are alarms, not tests: nothing is corrected for their number."""
    outcomes = []
    for rule in RULES:
        result = rule.check(found)
        outcomes.append(Outcome(rule, unchecked=result) if isinstance(result, str) else Outcome(rule, tuple(result)))
    return outcomes


def silent(outcomes: list[Outcome]) -> list[str]:
    """Names of the rules that were checked and found nothing."""
    return [outcome.rule.name for outcome in outcomes if not outcome.signs and not outcome.unchecked]


def signature_lines(outcomes: list[Outcome]) -> list[str]:
    """One line a sign, for the terminal."""
    return [f"{outcome.rule.name}: {sign.where}: {sign.numbers}" for outcome in outcomes for sign in outcome.signs]


def signatures_table(outcomes: list[Outcome], measured_on: str) -> Table:
    """A row a sign; value, low, high and limit in `unit`, NaN where a rule has no such number."""
    data, shown = [], []
    for outcome in outcomes:
        for sign in outcome.signs:
            numbers = {"value": sign.value, "low": sign.low, "high": sign.high, "limit": sign.limit, "unit": sign.unit}
            data.append({"signature": outcome.rule.name, "where": sign.where, **numbers, "found": sign.numbers})
            said = f"{sign.numbers}; {sign.meaning}" if sign.meaning else sign.numbers
            row = {"signature": outcome.rule.name, "where": sign.where, "found": said, "rule": outcome.rule.says}
            shown.append(row | {"what to do": outcome.rule.remedy})
    caption = f"Failure signatures: alarms by stated rules, not tests; nothing is corrected for their number. {measured_on}"
    return Table("signatures", caption, pd.DataFrame(data), pd.DataFrame(shown))
