"""What a reader must know before any verdict: one list, made here, which every output shows first."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from fila_lab.analysis import frame as frames
from fila_lab.analysis.alarm import SEVERITIES, Alarm
from fila_lab.analysis.check import listed
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.folder import Cell
from fila_lab.analysis.pair_tables import pair_alarms
from fila_lab.analysis.signatures import check_signatures
from fila_lab.analysis.stride_phases import apart_text
from fila_lab.analysis.sweep_alarms import sweep_alarms
from fila_lab.analysis.training_checks import crossing_contrasts
from fila_lab.config.instruments import FIRST
from fila_lab.config.published import altered

CUT_OFF = 0.01
"""Share of an arm's answers to a test that may be cut off without a word; a model that answers at all runs on now and then."""
EMPTY = 0.5
"""Share of them that may be empty without a word."""


def find_alarms(findings: Findings, committed: Findings | None = None) -> list[Alarm]:
    """Every alarm of a study, the gravest first. committed: the results shown beside it, when there are any.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> {alarm.severity for alarm in find_alarms(found)} <= {"error", "warning", "note"}
        True
    """
    made = list(findings.once(_own_alarms))
    if committed is not None:
        made += [*_other_instrument(findings, committed), *_other_code(findings, committed), *_altered(committed)]
    made = list(dict.fromkeys(made))
    return sorted(made, key=lambda alarm: SEVERITIES.index(alarm.severity))


def _own_alarms(findings: Findings) -> list[Alarm]:
    sources = (
        *(_altered, _declaration, _checks, _cells, _left_out, _unsaid),
        *(_dropped_seeds, _trials, _declared_training, _not_run, _sweep, pair_alarms, _signatures, _stride_phase),
    )
    return [alarm for source in sources for alarm in source(findings)]


def _altered(findings: Findings) -> Iterator[Alarm]:
    """A published folder whose files are not those that were published."""
    if names := altered(findings.folder.out):
        text = f"{listed(names)} in {findings.folder.out.name} {'is' if len(names) == 1 else 'are'} not as published"
        yield Alarm("published results changed", f"{text}; publish the run again, or take them from where they were published", "error")


def _declaration(findings: Findings) -> Iterator[Alarm]:
    """What was declared otherwise when the first cell ran: every verdict below is by what stands now."""
    for text in findings.folder.changed:
        yield Alarm("declaration changed after the first cell", f"{text}; the verdicts are by what stands now", "warning")
    if findings.folder.unrun:
        text = (
            f"{', '.join(findings.folder.unrun)}: these cells were run as they stood at the last run; `fila-lab run` runs what is missing"
        )
        yield Alarm("study file changed", text, "warning")


def _checks(findings: Findings) -> Iterator[Alarm]:
    """Failed self-checks, and those that could not be made though a verdict leans on them; before the first main cell there is none."""
    for check in findings.checks:
        if check.passed is False:
            yield Alarm("self-check failed", f"{check.name}: {check.text}", "error")
        elif check.passed is None and check.needed and not findings.frame.empty:
            yield Alarm("self-check not made", f"{check.name}: {check.text}", "warning")


def _cells(findings: Findings) -> Iterator[Alarm]:
    """Cells that failed, with their cause; arms of which nothing is left."""
    failed = frames.failures(findings.folder)
    for arm, own in failed[failed["phase"] == "main"].groupby("arm", sort=False):
        causes = [f"seed {row.seed} ({row.kind}: {_short(str(row.message))})" for row in own.itertuples()]
        yield Alarm("failed cells", f"{arm}: {listed(causes)}", "warning")
    finished = set(findings.frame["arm"])
    for arm in findings.folder.arms if finished else ():  # where nothing is done, that is said once
        if arm not in finished:
            yield Alarm("arm without results", f"{arm}: none of its cells is finished, so nothing is said of it", "error")


def _left_out(findings: Findings) -> Iterator[Alarm]:
    """Values that are no finite numbers, results that could not be read, cells that were not run."""
    for metric in judged_metrics(findings):
        if metric not in findings.frame:
            continue
        own = findings.frame[findings.frame[metric].isna()]
        for arm, rows in own.groupby("arm", sort=False):
            seeds = ", ".join(str(seed) for seed in rows["seed"])
            yield Alarm("left out", f"{arm}, seed {seeds}: {metric} is no finite number", "warning")
    for note in findings.notes:
        yield Alarm("left out" if "skipped" in note or "unreadable" in note else "results", note, "warning")


def _unsaid(findings: Findings) -> Iterator[Alarm]:
    """Arms of which more than CUT_OFF of the answers to a test came to no end (what longer ones would have said is not known), or more than
    EMPTY say nothing."""
    counts: dict[tuple[str, str], list[int]] = {}
    for cell in findings.folder.main:
        for test, told in ((cell.result or {}).get("answers") or {}).items():
            sums = counts.setdefault((cell.arm, test), [0, 0, 0])
            for place, name in enumerate(("given", "cut_off", "empty")):
                sums[place] += (told or {}).get(name) or 0
    for (arm, test), (given, cut, empty) in counts.items():
        if cut > CUT_OFF * given:
            text = f"{arm}: {cut} of {given} answers to {test} are cut off; raise language.answer_tokens where answers are longer"
            yield Alarm("answers cut off", text, "warning")
        if empty > EMPTY * given:
            remedy = "see whether it was trained on such prompts (the option `ending` of a benchmark sets what stands behind its questions)"
            yield Alarm("empty answers", f"{arm}: {empty} of {given} answers to {test} say nothing; {remedy}", "warning")


def _dropped_seeds(findings: Findings) -> Iterator[Alarm]:
    """How pairing shrank a contrast: which seeds it lost, to which arm, and what became of that cell."""
    cells = {(cell.arm, cell.seed): cell for cell in findings.folder.main}
    lost: dict[str, list[str]] = {}
    for family in findings.folder.study.families.values():
        metric = family.metric or findings.metric
        if metric not in findings.frame:
            continue
        usable = {
            (str(row.arm), int(str(row.seed))) for row in findings.frame.loc[findings.frame[metric].notna(), ["arm", "seed"]].itertuples()
        }
        for arms in family.comparisons:
            if not set(arms) <= set(findings.folder.arms):
                continue
            planned = {seed for arm, seed in cells if arm in arms}
            short = [(arm, seed) for seed in sorted(planned) for arm in dict.fromkeys(arms) if (arm, seed) not in usable]
            if short:
                n = len(planned) - len({seed for _, seed in short})
                why = listed([f"{arm} seed {seed} {_fate(cells.get((arm, seed)), metric)}" for arm, seed in short], 6)
                lost.setdefault(f"{n} of {len(planned)} seeds are paired, without {why}", []).append(" − ".join(arms))
    for text, contrasts in lost.items():
        yield Alarm("dropped seeds", f"{', '.join(dict.fromkeys(contrasts))}: {text}", "warning")


def _trials(findings: Findings) -> Iterator[Alarm]:
    """Searches in which trials failed: that arm was tuned on fewer than the others."""
    trials = frames.load_tuning(findings.folder)
    if trials.empty or "status" not in trials:
        return
    for arm, own in trials.groupby("arm", sort=False):
        lost = int(own["value"].isna().sum())
        if lost:
            yield Alarm(
                "failed trials", f"{arm}: {lost} of {len(own)} tuning trials have no value; the others were tuned on more", "warning"
            )


def _declared_training(findings: Findings) -> Iterator[Alarm]:
    """Contrasts that compare training too, because the study says so."""
    for text in crossing_contrasts(findings.folder):
        yield Alarm("unequal training, declared", text, "warning")


def _not_run(findings: Findings) -> Iterator[Alarm]:
    """Contrasts that were declared and are not here."""
    here = set(findings.folder.arms)
    missing = {arms for family in findings.folder.study.families.values() for arms in family.comparisons if not set(arms) <= here}
    if missing:
        left = [arm for arm in findings.folder.study.arms if arm not in here and any(arm in arms for arms in missing)]
        contrasts = sorted(" − ".join(arms) for arms in missing)
        text = f"{len(contrasts)} declared contrasts ({listed(contrasts, 6)}): this budget leaves out {', '.join(left)}"
        yield Alarm("declared, not run", text, "note")


def _sweep(findings: Findings) -> Iterator[Alarm]:
    """What a reader of a sweep's front must know."""
    if findings.sweep is not None:
        yield from sweep_alarms(findings.sweep)


def _signatures(findings: Findings) -> Iterator[Alarm]:
    for outcome in check_signatures(findings):
        if outcome.signs:
            yield Alarm(outcome.rule.name, "; ".join(f"{sign.where}: {sign.numbers}" for sign in outcome.signs), "warning")


def _stride_phase(findings: Findings) -> Iterator[Alarm]:
    """Seam gaps that are of another phase towards the ConvNeXt's stride, too."""
    if text := apart_text(findings):
        yield Alarm("phase of the stride", text, "note")


def _other_instrument(findings: Findings, committed: Findings) -> list[Alarm]:
    """Numbers of two instruments side by side say nothing of each other."""
    if text := other_instrument(findings, committed):
        return [Alarm("other instrument beside", text, "warning")]
    return []


def other_instrument(findings: Findings, committed: Findings) -> str:
    """That two studies which are shown side by side ran with different towers; empty where they did not."""
    if findings.folder.first_instrument == committed.folder.first_instrument:
        return ""
    sides = ("these", "the published results") if findings.folder.first_instrument else ("the published results", "these")
    return f"{sides[0]} are of the {FIRST}, {sides[1]} are not: other towers, so a difference between the two is no finding"


def _other_code(findings: Findings, committed: Findings) -> list[Alarm]:
    """Numbers of two studies side by side may differ because their code does."""
    if text := other_code(findings, committed):
        return [Alarm("other code beside", text, "warning")]
    return []


def other_code(findings: Findings, committed: Findings) -> str:
    """What differs in code and versions between two studies that are shown side by side; empty where nothing does."""
    ours, theirs = (_made_by(side) for side in (findings, committed))
    differing = [name for name in sorted(set(ours) | set(theirs)) if ours.get(name) != theirs.get(name)]
    if not differing:
        return ""
    if "code_hash" in differing:
        said = f"the published results were made by code {theirs.get('code_hash', 'unknown')}, these by {ours.get('code_hash', 'unknown')}"
    else:
        said = "the published results were made by the same code"
    rest = [
        f"{name.removeprefix('versions.')} {theirs.get(name, '–')} there, {ours.get(name, '–')} here"
        for name in differing
        if name != "code_hash"
    ]
    return said + (f" ({listed(rest, 5)})" if rest else "") + ": a difference between the two may be one of code"


def judged_metrics(findings: Findings) -> list[str]:
    """The primary metric, and those that families of contrasts are judged by instead."""
    own = [family.metric for family in findings.folder.study.families.values() if family.metric]
    return list(dict.fromkeys([findings.metric, *own]))


def _made_by(findings: Findings) -> dict[str, str]:
    manifests = findings.manifests
    watched = [str(name) for name in manifests.columns if str(name) == "code_hash" or str(name).startswith("versions.")]
    idle = ("versions.mlflow", "versions.optuna", "versions.fila-lab")
    values = {name: ", ".join(sorted(set(manifests[name].dropna().astype(str)))) for name in watched if name not in idle}
    return {name: value for name, value in values.items() if value}


def _fate(cell: Cell | None, metric: str) -> str:
    if cell is None:
        return "is not planned"
    if cell.problem:
        return "is not readable"
    if cell.result is None:
        return "has not been run"
    return f"has no finite {metric}" if cell.done else f"failed ({_kind(cell)})"


def _kind(cell: Cell) -> str:
    return str(((cell.result or {}).get("failure") or {}).get("kind", "error"))


def _short(text: str) -> str:
    """The first line's worth of a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 120 else flat[:117] + "..."


def alarms_frame(made: list[Alarm]) -> pd.DataFrame:
    """One row an alarm, for the table beside the others."""
    return pd.DataFrame([vars(alarm) for alarm in made], columns=["severity", "kind", "text"])
