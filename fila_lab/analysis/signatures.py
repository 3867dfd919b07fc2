"""Failure signatures: which stated rules a study's numbers trip, which found nothing, and which could not be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from fila_lab.analysis import signature_facts as facts
from fila_lab.analysis import signature_rules as rules
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.reversals import reversals
from fila_lab.analysis.screening import LEVEL
from fila_lab.analysis.signs import Applied, Sign
from fila_lab.analysis.tables import Table
from fila_lab.config.space import EDGE


@dataclass(frozen=True)
class Rule:
    """A signature's name, its rule in words, what to do about it, and the function that applies it. `tests`: whether it is a test over
    seeds, which chance alone can trip, or a plain fact of the folder."""

    name: str
    says: str
    remedy: str
    check: Callable[[Findings], Applied]
    tests: bool = True


@dataclass(frozen=True)
class Outcome:
    """One rule applied to one study. `unchecked`: why it could not be, or cannot tell, else empty; `reach`: what it could have found."""

    rule: Rule
    signs: tuple[Sign, ...] = ()
    unchecked: str = ""
    reach: str = ""


RULES: tuple[Rule, ...] = (
    Rule(
        "seam errors",
        "an arm's seam gap, or its fragmentation error rate, is larger than that of the arm without fusion",
        "the fusion may be misaligned: compare with the control `shifted`, check `geometry.detail_cells` and `fusion.resample`, look at "
        "the flipped triplets",
        rules.seam_errors,
    ),
    Rule(
        "out of memory",
        "a cell failed with this cause, or its worker was killed as the kernel does when memory runs out",
        "lower `geometry.detail_cells`, `train.batch_size` or `--workers`, or set `runtime.checkpointing=true`; `fila-lab plan` estimates "
        "the memory",
        facts.out_of_memory,
        tests=False,
    ),
    Rule(
        "over-fusion",
        "on a task without fine detail an arm loses to the arm without fusion, by more than the margin",
        "fuse less: `fusion.depth=last`, a gate (`fusion.gate=true`), a smaller `fusion.hidden`; or train on more items of that task",
        rules.over_fusion,
    ),
    Rule(
        "a control that also gains",
        "a control gains over the arm without fusion (`oracle_map` must gain, and is left out)",
        "count only what the fusion gains beyond the control",
        rules.gaining_controls,
    ),
    Rule(
        "blind instrument",
        "`oracle_map`, the truth as detail map, gains less than the margin",
        "no arm can be judged here: train longer, or mend the items, before anything is compared",
        rules.blind_instrument,
    ),
    Rule(
        "under-trained baseline",
        "an arm without fusion gains more than the margin when it is trained longer; or, at a steady learning rate, rises so fast between "
        f"its last two validations that, on a straight line over the logarithm of the steps, {rules.MORE_STEPS - 1:.0%} more steps would "
        "add that much. (While the rate falls a rise is no sign: the fall makes it, and arms are tuned to different rates)",
        "raise `train.steps` for all arms and see whether the contrasts hold",
        rules.undertrained_baseline,
    ),
    Rule(
        "tuned value at the edge of its range",
        f"the value an arm ran with lies in the outer {EDGE:.0%} of its searched range, at either end (log scale). A fact of the "
        f"search, not a test: where the value does not matter, {2 * EDGE:.0%} of winners lie there",
        "a better value may lie outside what was tried: widen `tuning.space` and search again, for every arm",
        facts.tuned_edges,
        tests=False,
    ),
    Rule(
        "floor or ceiling",
        f"an arm's mean accuracy on a task lies below {rules.FLOOR:.0%} or above {rules.CEILING:.0%} (`oracle_map` left out)",
        "differences there are compressed: read the logit scale (verdicts show it for the primary metric), or change the difficulty",
        rules.extremes,
    ),
    Rule(
        "seed instability",
        f"the standard deviation of the primary metric over seeds is more than {rules.SPREAD:g} times that of as many independent items as "
        "the test pool has, sqrt(p (1 - p) / n), and larger than that by a chi-square test",
        "look at the learning curves of the outlying seeds; lower the learning rate or lengthen `train.warmup`; add seeds",
        rules.unstable_seeds,
    ),
    Rule(
        "reversal between subgroups",
        "by a column that its family declares in `by`, a contrast's first arm is ahead in one level and behind in another",
        "say for which items an arm is better, or weigh the kinds of items as the use in mind does; do not quote the mean alone",
        reversals,
    ),
)


def check_signatures(findings: Findings) -> list[Outcome]:
    """Every rule, in the order of RULES.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> check_signatures(found)[0].rule.name
        'seam errors'
    """
    return list(findings.once(_apply_rules))


def _apply_rules(findings: Findings) -> list[Outcome]:
    applied = [(rule, rule.check(findings)) for rule in RULES]
    return [Outcome(rule, tuple(result.signs), result.unchecked, result.reach) for rule, result in applied]


def multiplicity(outcomes: list[Outcome]) -> str:
    """What chance alone can do: within a rule, and over the rules that tested this study."""
    made = sum(outcome.rule.tests and not outcome.unchecked for outcome in outcomes)
    over = (
        f"{made} rules tested here, so chance alone raises an alarm in at most {min(1.0, made * LEVEL):.0%} of studies" if made > 1 else ""
    )
    return (
        f"Alarms by stated rules. A rule that tests keeps to {LEVEL:.0%} over all arms and tasks it looks at (one-sided t tests over at "
        f"least three seeds, Holm); over the rules nothing is corrected{': ' + over if over else ''}."
    )


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
    caption = f"Failure signatures. {multiplicity(outcomes)} {measured_on}"
    return Table("signatures", caption, pd.DataFrame(data), pd.DataFrame(shown))
