"""Writes a study's report: one self-contained HTML page, a short Markdown page, figures, and every table as CSV and LaTeX."""

from __future__ import annotations

import base64
import functools
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from fila_lab.analysis.alarm import Alarm
from fila_lab.analysis.alarms import alarms_frame, find_alarms, other_code, other_instrument
from fila_lab.analysis.answer import answer_of
from fila_lab.analysis.benchmark_tables import benchmark_tables
from fila_lab.analysis.crossed_tables import crossed_tables
from fila_lab.analysis.dose_tables import dose_tables
from fila_lab.analysis.escape import Raw, markdown_text
from fila_lab.analysis.family_rows import RANKS, family_rows
from fila_lab.analysis.figures import SUMMARY_FIGURES, SWEEP_SUMMARY_FIGURES, draw_figures
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.forest import forest_of
from fila_lab.analysis.gallery import Flip, flips_table, load_flips, load_sample
from fila_lab.analysis.headline import headline_of, sentences_of, verdict_sentences
from fila_lab.analysis.heat_map import heat_map, task_table
from fila_lab.analysis.pair_tables import pair_tables
from fila_lab.analysis.position_tables import position_tables
from fila_lab.analysis.resolution import resolution_tables
from fila_lab.analysis.schemes import in_dark
from fila_lab.analysis.signatures import check_signatures, multiplicity, signatures_table
from fila_lab.analysis.style import arm_styles, number, scale_of, unique_text
from fila_lab.analysis.subgroup_tables import subgroup_tables
from fila_lab.analysis.sweep_tables import sweep_tables
from fila_lab.analysis.tables import Table, all_tables, published_table
from fila_lab.analysis.words import words_of
from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES
from fila_lab.config.texts import one_line

SUMMARY = "report.md"
VERDICT_WORDS = ("better", "worse", "equivalent", "inconclusive", "not testable", "not comparable")
TITLES = {
    "front": "Front of the sweep",
    "fresh_seeds": "What the search saw, and fresh seeds",
    "importance": "Importance of searched fields",
    "verdicts": "Verdicts",
    "pairs": "Pair by pair",
    "subgroups": "By kinds of items",
    "effects": "Crossed factors",
    "effect_contrasts": "Contrasts of levels",
    "tasks": "Tasks and arms",
    "arms": "Arms",
    "benchmarks": "Benchmarks",
    "set_aside": "Rows that could not be used",
    "matches": "Matched arms",
    "gaps": "Gaps",
    "doses": "Doses of a seam",
    "count_errors": "Errors of counts",
    "positions": "Positions on the canvas",
    "resolutions": "Over page resolutions",
    "failures": "Failures",
}
"""Tables of the Markdown page in their order, and their headings."""


def write_report(out: Path | str | StudyFolder | Findings, published: Path | None = None, to: Path | None = None) -> Path:
    """Write a study's report and return the path of report.html.

    Args:
        out: the study's folder, or its findings.
        published: folder of the committed results shown beside fresh ones; None looks for experiments/results/<study>.
        to: where to; None takes OUT/report, of published results runs/reports/<name>. Pictures of its folder `gallery`, or of
            OUT/gallery, are shown.

    Raises:
        FilaError: no main cell is finished, or the folder cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> write_report("experiments/results/remove_fusion", to=Path(tempfile.mkdtemp())).name
        'report.html'
    """
    findings = Findings.of(out)
    committed = findings.published(published)
    target = to or findings.folder.report
    try:
        for part in ("figures", "tables"):
            (target / part).mkdir(parents=True, exist_ok=True)
        gallery = target / "gallery"
        own = gallery if gallery.is_dir() else None
        flips, sampled = (load(findings.folder, findings.predictions, own) for load in (load_flips, load_sample))
        context = _context(findings, committed, flips) | {"sampled": sampled}
        for table in context["tables"].values():
            table.write(target / "tables", findings.preset)
        context["figures"] = draw_figures(findings, target / "figures")
        context["csv_of"] = {name: _data_uri(table.csv(findings.preset)) for name, table in context["tables"].items()}
        page = target / "report.html"
        page.write_text(_environment(html=True).get_template("report.html.j2").render(context), encoding="utf-8")
        (target / SUMMARY).write_text(_environment(html=False).get_template("report.md.j2").render(context), encoding="utf-8")
    except OSError as error:
        raise FilaError(f"out={target}: the report cannot be written ({error}); give a folder you may write to with --to") from error
    return page


def write_summary(out: Path | str | StudyFolder, folder: Path) -> None:
    """Write what is published of a study's report: FOLDER/report.md and its figures.

    Raises:
        FilaError: no main cell is finished.
        OSError: it cannot be written.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_summary("experiments/results/remove_fusion", folder)
        >>> (folder / "report.md").is_file()
        True
    """
    findings = Findings.of(out)
    context = _context(findings, None, [])
    (folder / "figures").mkdir(exist_ok=True)
    context["figures"] = draw_figures(
        findings, folder / "figures", SUMMARY_FIGURES if findings.sweep is None else SWEEP_SUMMARY_FIGURES, ("png",)
    )
    text = _environment(html=False).get_template("report.md.j2").render(context | {"summary": True})
    (folder / SUMMARY).write_text(text, encoding="utf-8")


def _tables(findings: Findings, committed: Findings | None, flips: list[Flip], alarms: list[Alarm]) -> dict[str, Table]:
    tables = (
        all_tables(findings)
        | sweep_tables(findings)
        | benchmark_tables(findings)
        | crossed_tables(findings)
        | subgroup_tables(findings)
        | pair_tables(findings)
    )
    tables |= dose_tables(findings) | position_tables(findings) | resolution_tables(findings)
    tasks = task_table(findings)
    if len(tasks.data):
        tables["tasks"] = tasks
    if alarms:
        raised = alarms_frame(alarms)
        tables["alarms"] = Table("alarms", f"Alarms, the gravest first. {findings.measured_on}", raised, raised)
    signatures = signatures_table(check_signatures(findings), findings.measured_on)
    if len(signatures.data):
        tables["signatures"] = signatures
    if flips:
        text = flips_table(findings.folder, flips)
        tables["flips"] = Table("flips", f"Seeds that answered right at {' / '.join(PLACES)}. {findings.measured_on}", text, text)
    if committed is not None:
        both = published_table(findings, committed)
        caption = f"Fresh estimates beside the committed ones, points. {findings.measured_on}"
        if unlike := other_code(findings, committed):
            caption += f". Of different code: {unlike}"
        if unlike := other_instrument(findings, committed):
            caption += f". {unlike}"
        tables["published"] = Table("published", caption, both, both)
    manifest = _manifest(findings)
    tables["manifest"] = Table("manifest", "What produced these numbers.", manifest, manifest)
    return tables


def _context(findings: Findings, committed: Findings | None, flips: list[Flip]) -> dict[str, Any]:
    """What the templates show, the figures apart."""
    alarms, outcomes = find_alarms(findings, committed), check_signatures(findings)
    study, scale = findings.folder.study, scale_of(findings.metric)
    budget = study.budgets.get(findings.folder.budget)
    tables, styles = _tables(findings, committed, flips, alarms), arm_styles(findings.folder)
    return {
        "study": study,
        "folder": findings.folder,
        "findings": findings,
        "answer": answer_of(findings),
        "words": words_of(findings),
        "headline": sentences_of(findings),
        "verdict_sentences": verdict_sentences(findings),
        "forest": forest_of(findings),
        "heat": heat_map(findings, tables["tasks"]) if "tasks" in tables else None,
        "families": family_rows(findings, tables["verdicts"]) if "verdicts" in tables else [],
        "alarm_kinds": [(kind, list(own)) for kind, own in itertools.groupby(alarms, key=lambda alarm: alarm.kind)],
        "alarms": alarms,
        "tables": tables,
        "flips": flips,
        "outcomes": outcomes,
        "multiplicity": multiplicity(outcomes),
        "summary": False,
        "checks": findings.checks,
        "committed": committed,
        "committed_headline": headline_of(committed) if committed else [],
        "other_code": other_code(findings, committed) if committed else "",
        "other_instrument": other_instrument(findings, committed) if committed else "",
        "same_study": committed is not None and committed.folder.study_hash == findings.folder.study_hash,
        "margin": number(study.margin * scale) + (" points" if scale == 100 else ""),
        "seeds": len(budget.seeds) if budget else findings.frame["seed"].nunique(),
        "winners": findings.searched_values,
        "places": PLACES,
        "styles": styles,
        "arm_numbers": {arm: number for number, arm in enumerate(styles)},
        "in_dark": in_dark,
        "ranks": RANKS,
        "verdict_words": VERDICT_WORDS,
        "titles": TITLES | ({"front": "Best trial of the sweep"} if findings.sweep is not None and not findings.sweep.several else {}),
        "planned": len(findings.folder.main),
        "hours": findings.frame["timing/total"].sum() / 3600 if "timing/total" in findings.frame else None,
    }


def _data_uri(text: str) -> str:
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def _manifest(findings: Findings) -> pd.DataFrame:
    """Field and value; where cells differ, every value with its count."""
    folder, manifests = findings.folder, findings.manifests
    rows = [
        ("study", folder.study.name),
        ("study hash", folder.study_hash or "–"),
        ("budget", folder.budget or "–"),
        ("preset", findings.preset),
    ]
    hidden = {"arm", "seed", "id", "started", "finished"}
    for column in [name for name in manifests.columns if name not in hidden]:
        counts = Counter(str(value) for value in manifests[column].dropna())
        rows.append((column, unique_text(counts)))
    for name, pick in (("started", min), ("finished", max)):
        stamps = [str(stamp) for stamp in manifests.get(name, pd.Series(dtype=object)).dropna()]
        if stamps:
            rows.append((name, pick(stamps)))
    return pd.DataFrame(rows, columns=["field", "value"])


_INTERVAL = re.compile(r"[+−]?[\d.]+ \[[^\]]*\]")
"""What a line should not break."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What a page cannot hold."""


@functools.cache
def _environment(html: bool) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=html, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    if html:
        environment.finalize = lambda value: one_line(value) if type(value) is str and _CONTROL.search(value) else value
    else:
        environment.finalize = lambda value: value if isinstance(value, Raw) else markdown_text(value)
        environment.filters["ours"] = Raw  # sentences of this program, with their own code marks
    environment.filters["kept_together"] = lambda text: _INTERVAL.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    environment.tests["numeric"] = lambda text: str(text)[:1] in "+−0123456789[.<–" and len(str(text)) < 30
    return environment
