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


def sweep_alarms(findings: SweepFindings) -> Iterator[Alarm]:
    """Of the trials, then of the points on fresh seeds."""
    if going := progress(findings):
        yield Alarm("sweep not finished", f"{going}; what is said of its front is of these trials", "warning")
    yield from _trials(findings)
    yield from _edges(findings)
    if findings.file.complete:
        yield from _front(findings)
        yield from _seeds(findings)
        yield from _points(findings)


def _trials(findings: SweepFindings) -> Iterator[Alarm]:
    failed = [trial for trial in findings.file.trials if trial.state == "failed"]
    if failed:
        causes = listed([f"trial {trial.number}" + (f" ({trial.reason})" if trial.reason else "") for trial in failed])
        yield Alarm("failed trials", f"{len(failed)} of {len(findings.file.trials)} trials of the sweep failed: {causes}", "warning")
    impossible = findings.counts["impossible"]
    if impossible > MOSTLY * len(findings.file.trials):
        text = f"{impossible} of {len(findings.file.trials)} trials were impossible combinations: the search saw few others; use `if`"
        yield Alarm("space mostly impossible", text, "warning")


def _edges(findings: SweepFindings) -> Iterator[Alarm]:
    """Of one objective a better value may lie beyond; a front ends at edges in the nature of things."""
    edges = [f"trial-{number}: {', '.join(own)}" for number, own in at_edges(findings.file).items()]
    if edges:
        text = f"{'; '.join(edges)}; what lies beyond was not searched"
        yield Alarm(
            "front at the edge of a range" if findings.several else "best trial at the edge of a range",
            text,
            "note" if findings.several else "warning",
        )


def _front(findings: SweepFindings) -> Iterator[Alarm]:
    """The front that was frozen against the one that follows from the trials."""
    if not findings.several:
        return
    finished = findings.file.values(findings.file.finished)
    follows = {tuple(row) for row in finished[non_dominated(finished, findings.file.directions)]}
    stated = {tuple(row) for row in findings.file.values(findings.file.best)}
    if follows != stated:
        text = f"{len(follows - stated)} points that nothing dominates are missing, {len(stated - follows)} are dominated; run it again"
        yield Alarm("front does not follow from the trials", text, "error")


def _seeds(findings: SweepFindings) -> Iterator[Alarm]:
    if findings.unconfirmed:
        text = f"{listed(list(findings.unconfirmed))}: no main cell is done, so only what the search saw is known of them"
        yield Alarm("front not confirmed", text, "warning")
    elif not findings.file.arms and findings.file.best:
        yield Alarm(
            "front not confirmed", "no arm was made of the front (`sweep.confirm`): only what the search saw is known of it", "warning"
        )
    points = findings.confirmed.points
    few = [row.arm for row in rows_of(points) if row.seeds < 2]
    if few:
        yield Alarm("seeds too few for an interval", f"{listed(few, 6)}: one seed each; confirm on at least 2, better 5", "warning")
    fresh = {cell.seed for own in findings.confirmed.cells.values() for cell in own}
    if shared := sorted(fresh & set(findings.file.search.run_seeds)):
        text = f"seed {', '.join(map(str, shared))} chose the front's points and confirms them"
        yield Alarm("seeds not fresh", f"{text}; confirm on others than sweep.run_seeds", "error")


def _points(findings: SweepFindings) -> Iterator[Alarm]:
    points = findings.confirmed.points
    fallen = [f"{row.arm} by {row.dominated_by}" for row in rows_of(points) if row.dominated_by]
    if fallen:
        yield Alarm("dominated on fresh seeds", f"{'; '.join(fallen)}: the search's front does not hold there", "warning")
    unsure = [f"{row.arm} {row.share:.0%}" for row in rows_of(points) if np.isfinite(row.share) and row.share < UNSURE and findings.several]
    if unsure:
        yield Alarm("unsure of the front", f"{'; '.join(unsure)} of bootstrap draws on it: other seeds may drop these points", "warning")
    ahead = (DOMINATION if findings.several else ORDER)[1]
    above = [f"{row.arm} {ahead} {row.dominates}" for row in rows_of(findings.confirmed.declared) if row.dominates]
    if above:
        yield Alarm(
            f"declared arms before the {'front' if findings.several else 'best trial'}", f"{'; '.join(above)} on the same seeds", "note"
        )
