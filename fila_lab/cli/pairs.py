"""What `fila-lab plan` says of tower pairs: how many there are, and which seeds fall on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fila_lab.studies.plan import Plan


def seeds_by_pair(plan: Plan) -> dict[int, list[int]]:
    """Pair -> the seeds of the plan's main cells on it, of pairs without one too; empty where no arm has pairs."""
    runs = [cell.config for cell in plan.cells if cell.phase == "main"]
    count = max((len(run.tower_pairs) for run in runs), default=0)
    found: dict[int, set[int]] = {pair: set() for pair in range(count)}
    for run in runs:
        if run.pair is not None:
            found[run.pair].add(run.seed)
    return {pair: sorted(seeds) for pair, seeds in found.items()}


def pair_lines(plan: Plan) -> list[str]:
    """A line on the pairs, and one where they do not share the seeds equally; none without pairs."""
    found = seeds_by_pair(plan)
    if not found:
        return []
    lines = [f"pairs     {len(found)} tower pairs: {'; '.join(f'{pair}: {_seeds(seeds)}' for pair, seeds in found.items())}"]
    if problem := unequal(found):
        lines.append(f"          {problem}")
    sizes = {arm: len(next(cell.config for cell in plan.cells if cell.arm == arm).tower_pairs) for arm in plan.arms}
    if len(set(sizes.values()) - {0}) > 1:
        told = ", ".join(f"{arm} {size or 'none'}" for arm, size in sizes.items())
        lines.append(f"          arms have different numbers of pairs ({told}): their contrasts are not shown pair by pair")
    return lines


def unequal(found: Mapping[int, list[int]]) -> str:
    """What is to be said where pairs have not equally many seeds."""
    counts = [len(seeds) for seeds in found.values()]
    if len(set(counts)) == 1:
        return ""
    nearest = max(1, round(sum(counts) / len(counts))) * len(counts)
    return (
        f"unequal: {', '.join(map(str, counts))} seeds, so that means over seeds weigh pairs unequally; "
        f"{nearest} seeds in a row would fall on all alike"
    )


def _seeds(seeds: list[int]) -> str:
    return f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}" if seeds else "no seed"
