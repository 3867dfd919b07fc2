"""What a reader of a sweep's front must know: trials that came to nothing, points that do not hold, seeds that are too few or not fresh."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fila_lab.analysis.alarm import Alarm
from fila_lab.analysis.check import listed
from fila_lab.analysis.front import non_dominated
from fila_lab.analysis.style import rows_of
from fila_lab.analysis.sweep import SweepFindings
from fila_lab.analysis.sweep_text import DOMINATION, ORDER, progress
from fila_lab.analysis.trials import at_edges

UNSURE = 0.5
"""A point that is on the front in fewer of the bootstrap draws is named."""
MOSTLY = 0.5
"""Share of impossible trials from which on the space is said to be mostly impossible."""


def sweep_alarms(found: SweepFindings) -> Iterator[Alarm]:
    """Of the trials, then of the points on fresh seeds."""
    if going := progress(found):
        yield Alarm("sweep not finished", f"{going}; what is said of its front is of these trials", "warning")
    yield from _trials(found)
    yield from _edges(found)
    if found.file.complete:
        yield from _front(found)
        yield from _seeds(found)
        yield from _points(found)


def _trials(found: SweepFindings) -> Iterator[Alarm]:
    failed = [trial for trial in found.file.trials if trial.state == "failed"]
    if failed:
        causes = listed([f"trial {trial.number}" + (f" ({trial.reason})" if trial.reason else "") for trial in failed])
        yield Alarm("failed trials", f"{len(failed)} of {len(found.file.trials)} trials of the sweep failed: {causes}", "warning")
    impossible = found.counts["impossible"]
    if impossible > MOSTLY * len(found.file.trials):
        text = f"{impossible} of {len(found.file.trials)} trials were impossible combinations: the search saw few others; use `if`"
        yield Alarm("space mostly impossible", text, "warning")


def _edges(found: SweepFindings) -> Iterator[Alarm]:
    """Of one objective a better value may lie beyond; a front ends at edges in the nature of things."""
    edges = [f"trial-{number}: {', '.join(own)}" for number, own in at_edges(found.file).items()]
    if edges:
        text = f"{'; '.join(edges)}; what lies beyond was not searched"
        yield Alarm(
            "front at the edge of a range" if found.several else "best trial at the edge of a range",
            text,
            "note" if found.several else "warning",
        )


def _front(found: SweepFindings) -> Iterator[Alarm]:
    """The front that was frozen against the one that follows from the trials."""
    if not found.several:
        return
    finished = found.file.values(found.file.finished)
    follows = {tuple(row) for row in finished[non_dominated(finished, found.file.directions)]}
    stated = {tuple(row) for row in found.file.values(found.file.best)}
    if follows != stated:
        text = f"{len(follows - stated)} points that nothing dominates are missing, {len(stated - follows)} are dominated; run it again"
        yield Alarm("front does not follow from the trials", text, "error")


def _seeds(found: SweepFindings) -> Iterator[Alarm]:
    if found.unconfirmed:
        text = f"{listed(list(found.unconfirmed))}: no main cell is done, so only what the search saw is known of them"
        yield Alarm("front not confirmed", text, "warning")
    elif not found.file.arms and found.file.best:
        yield Alarm(
            "front not confirmed", "no arm was made of the front (`sweep.confirm`): only what the search saw is known of it", "warning"
        )
    points = found.confirmed.points
    few = [row.arm for row in rows_of(points) if row.seeds < 2]
    if few:
        yield Alarm("seeds too few for an interval", f"{listed(few, 6)}: one seed each; confirm on at least 2, better 5", "warning")
    fresh = {cell.seed for own in found.confirmed.cells.values() for cell in own}
    if shared := sorted(fresh & set(found.file.search.run_seeds)):
        text = f"seed {', '.join(map(str, shared))} chose the front's points and confirms them"
        yield Alarm("seeds not fresh", f"{text}; confirm on others than sweep.run_seeds", "error")


def _points(found: SweepFindings) -> Iterator[Alarm]:
    points = found.confirmed.points
    fallen = [f"{row.arm} by {row.dominated_by}" for row in rows_of(points) if row.dominated_by]
    if fallen:
        yield Alarm("dominated on fresh seeds", f"{'; '.join(fallen)}: the search's front does not hold there", "warning")
    unsure = [f"{row.arm} {row.share:.0%}" for row in rows_of(points) if np.isfinite(row.share) and row.share < UNSURE and found.several]
    if unsure:
        yield Alarm("unsure of the front", f"{'; '.join(unsure)} of bootstrap draws on it: other seeds may drop these points", "warning")
    ahead = (DOMINATION if found.several else ORDER)[1]
    above = [f"{row.arm} {ahead} {row.dominates}" for row in rows_of(found.confirmed.declared) if row.dominates]
    if above:
        yield Alarm(
            f"declared arms before the {'front' if found.several else 'best trial'}", f"{'; '.join(above)} on the same seeds", "note"
        )
