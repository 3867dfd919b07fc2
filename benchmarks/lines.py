"""The lines that must be reached, as values against limits."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.subjects import ARMS, COMPILED, RIVALS, towers_of
from benchmarks.timing import Rounds
from fila_lab.config import FilaError

NONE_WITHIN = 1.05
COMPILED_WITHIN = 0.82
TOWERS_AT_LEAST = 0.95
ADDED_AT_MOST = {"concat": 0.05, "concat_ungated": 0.05, "addition": 0.05, "cross_attention": 0.15}
OVER_FLOPS_AT_MOST = 1.15
MEMORY_AT_MOST = {"concat": 1.5, "cross_attention": 2.0}
FLOOR_AT_LEAST = 0.7
"""A call far below the floor did not do its work (the peak of a product is itself measured, hence not 1)."""
TRAINING_AT_LEAST = {"concat": 0.6, "cross_attention": 0.45}


@dataclass(frozen=True)
class Line:
    """One line: what is compared, its value, its limit, and whether the limit is from above."""

    arm: str
    precision: str
    what: str
    value: float
    limit: float
    upper: bool = True

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.upper else self.value >= self.limit

    def __str__(self) -> str:
        met, sign = ("meets" if self.met else "MISSES"), ("<=" if self.upper else ">=")
        return f"{met}: {self.what} {self.value:.3f} {sign} {self.limit:g}"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Row:
    """One subject's figures; ratios are medians over rounds, of values of the same round.

    ratio: time over the bare calls of the same towers (`none`, rivals, bare ViT: of the ViT; convnext_only, bare ConvNeXt: of the ConvNeXt;
    else of both); low, high: its range over the rounds. towers: the bare calls' time over the call's without fusion. added: fusion's time
    over the rest of the call. flops_added: fusion's FLOPs over the towers'. floor: time over FLOPs / matmul peak.
    """

    name: str
    seconds: float
    ratio: float
    low: float
    high: float
    flops: int
    floor: float
    towers: float | None = None
    added: float | None = None
    flops_added: float | None = None

    def lines(self, precision: str) -> list[Line]:
        """Lines about this arm's time."""
        if self.name.endswith(COMPILED):
            both = self.added is not None and precision == "bf16"
            return [Line(self.name, precision, "time over the bare eager calls", self.ratio, COMPILED_WITHIN)] if both else []
        found = []
        if self.name == "none":
            found.append(Line(self.name, precision, "time over the bare ViT call", self.ratio, NONE_WITHIN))
        if self.towers is not None and self.name in ARMS:
            found.append(Line(self.name, precision, "towers' throughput over the bare calls'", self.towers, TOWERS_AT_LEAST, upper=False))
        if self.added is not None and self.flops_added and self.name in ADDED_AT_MOST:
            found.append(Line(self.name, precision, "time added by fusion", self.added, ADDED_AT_MOST[self.name]))
            share = self.added / self.flops_added
            found.append(Line(self.name, precision, "time added over FLOPs added", share, OVER_FLOPS_AT_MOST))
        return found


def rows(rounds: Rounds, flops: dict[str, int], peak: float) -> list[Row]:
    """A row a subject, in the order they were given. FilaError where a call was faster than the machine can be."""
    result = []
    for name, total in rounds.total.items():
        inside = rounds.inside[name]
        arm = name.removesuffix(COMPILED)
        towers = towers_of(name)
        base = [sum(seconds) for seconds in zip(*(rounds.total[tower] for tower in towers), strict=True)]
        ratios = [a / b for a, b in zip(total, base, strict=True)]
        seconds = statistics.median(total)
        floor = seconds * peak / flops[name]
        if floor < FLOOR_AT_LEAST:
            raise FilaError(
                f"{name!r} took {seconds:.3g} s, {floor:.2f} of what its FLOPs take at the measured peak: it did not do its work, "
                "or another process slowed the measurement of the peak; run again with nothing beside it"
            )
        arm_only: dict[str, float] = {}
        if arm in ARMS or name in RIVALS:
            arm_only["towers"] = statistics.median(b / (a - i) for a, i, b in zip(total, inside, base, strict=True))
        if arm in ADDED_AT_MOST or (name in RIVALS and name != "convnext_only"):
            arm_only["added"] = statistics.median(i / (a - i) for a, i in zip(total, inside, strict=True))
            bare = sum(flops[tower] for tower in towers)
            arm_only["flops_added"] = (flops[name] - bare) / bare
        result.append(
            Row(
                name,
                seconds,
                statistics.median(ratios),
                min(ratios),
                max(ratios),
                flops[name],
                floor,
                **arm_only,
            )
        )
    return result


def memory_lines(peaks: dict[str, float], precision: str) -> list[Line]:
    """Lines about peak memory over weights; `peaks` in GiB, with `bare`."""
    return [
        Line(arm, precision, "peak memory over the bare calls'", peaks[arm] / peaks["bare"], limit)
        for arm, limit in MEMORY_AT_MOST.items()
        if arm in peaks
    ]


def training_lines(ratios: dict[str, float], precision: str) -> list[Line]:
    """Lines about images/s of training over those of `none`."""
    return [
        Line(arm, precision, "training images/s over none's", ratios[arm], limit, upper=False)
        for arm, limit in TRAINING_AT_LEAST.items()
        if arm in ratios
    ]
