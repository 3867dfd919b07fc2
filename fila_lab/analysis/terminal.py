"""What the terminal shows at the end of a study: arms, contrasts, verdicts, the published verdicts beside them, the path of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fila_lab.analysis.alarms import find_alarms
from fila_lab.analysis.answer import answer_of
from fila_lab.analysis.crossed import too_few_seeds
from fila_lab.analysis.crossed_tables import crossed_tables
from fila_lab.analysis.escape import rich_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.fitted import Column, Fitted
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.pair_tables import levels_text
from fila_lab.analysis.signatures import check_signatures
from fila_lab.analysis.style import number, quantity, rows_of, scale_of, with_bounds, with_half
from fila_lab.analysis.subgroups import DEPENDS, level_text
from fila_lab.analysis.sweep_text import interval_text, objectives_text, sweep_sentences, title_of
from fila_lab.analysis.tables import arms_table
from fila_lab.analysis.verdicts import said
from fila_lab.config.space import values_text

COLOURS = {"better": "green", "worse": "red", "equivalent": "cyan", "inconclusive": "yellow"}
COLOURS |= {"not testable": "dim", "not comparable": "bold red"}


def terminal_summary(out: Path | str | StudyFolder | Findings, published: Path | None = None, page: Path | None = None) -> Group:
    """A rich renderable: `rich.print(terminal_summary(out))`.

    Args:
        out: the study's folder, or its findings.
        published: folder of committed results, found by the study's name when None.
        page: the report's page; None takes the one that `write_report` writes by itself.

    Raises:
        FilaError: there is nothing to show.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> from rich.console import Console
        >>> console = Console(width=100, record=True, quiet=True)
        >>> console.print(terminal_summary(found))
    """
    findings = Findings.of(out)
    committed = findings.published(published)
    parts: list[RenderableType] = [rich_text(findings.folder.study.question, "bold")]
    if findings.instrument:
        parts.append(Text(findings.instrument, style="yellow"))
    if findings.sweep is None and len(findings.verdicts):
        parts += [rich_text(sentence) for sentence in answer_of(findings)]
    parts += _alarms(findings, committed)
    parts += _sweep(findings)
    parts.append(_arms(findings))
    if findings.sweep is None or findings.folder.study.families:
        parts.append(_contrasts(findings, committed))
    if not findings.testable and len(findings.verdicts):
        reasons = list(dict.fromkeys(findings.verdicts["reason"]))
        parts.append(rich_text(f"No verdict from this run: {'; '.join(reasons)}.", "yellow"))
        if committed is None:
            parts.append(Text("No published results of this study were found to show beside it.", style="dim"))
    if committed is not None:
        parts.append(
            Text(
                f"Published ({committed.folder.budget} budget, {committed.verdicts['n'].max()} seeds): {_short(committed.folder.out)}",
                style="dim",
            )
        )
        if committed.folder.study_hash != findings.folder.study_hash:
            parts.append(Text("The published results were made with another version of the study file.", style="dim"))
    parts += _subgroups(findings)
    parts += _crossed(findings)
    parts += _signatures(findings)
    parts.append(Text(findings.limits, style="dim"))
    page = page or findings.folder.report / "report.html"
    if page.exists():
        parts.append(Text(f"Report: {_short(page)}", style="bold"))
    return Group(*parts)


def _arms(findings: Findings) -> Fitted:
    data = arms_table(findings)
    task = findings.tasks[0] if findings.tasks else ""
    scale = scale_of(findings.metric)
    columns = {
        "cut": f"exact/{task}/cut",
        "sham": f"exact/{task}/sham",
        "intact": f"exact/{task}/intact",
        "seam gap": f"seam_gap/{task}",
    }
    columns |= {other: f"exact/{other}" for other in findings.tasks[1:]}
    columns = {title: name for title, name in columns.items() if name in data}
    title = f"{findings.metric} in percent ± half of the 95 % interval over seeds; {findings.measured_on}"
    whole = [Column("arm", name=True), Column("seeds", 1), Column(findings.metric.removeprefix("exact/"))]
    whole += [Column(name, {"sham": 5, "intact": 4, "cut": 2, "seam gap": 3}.get(name, 6)) for name in columns]
    table = Fitted(title, [*whole, Column("FLOPs", 2), Column("ms", 7), Column("MiB", 8)])
    for row in data.to_dict("records"):
        primary = with_half(row[findings.metric] * scale, row[f"{findings.metric} half"] * scale)
        middle = [number(row[name] * 100) for name in columns.values()]
        seeds = f"{row['seeds']}" + (f" (+{row['failed']} failed)" if row["failed"] else "")
        costs = [quantity(row["flops"]), number(row["latency_ms"]), number(row["peak_memory_mib"], 0)]
        table.rows.append((rich_text(findings.folder.label(row["arm"])), *map(rich_text, (seeds, primary, *middle, *costs))))
    return table


def _contrasts(findings: Findings, committed: Findings | None) -> Fitted:
    scale = scale_of(findings.metric)
    named = findings.folder.study.own_metrics  # the same contrast then stands in several families
    columns = [Column("family", name=True)] if named else []
    columns += [Column("contrast", name=True), Column("here"), Column("verdict", words=True)]
    if by_pair := not findings.pairs.levels.empty:
        columns.append(Column("pair by pair", 2))
    if committed is not None:
        columns += [Column("published", 1), Column("published verdict", words=True)]
    table = Fitted(f"A − B, points [95 %]; margin ±{number(findings.folder.study.margin * scale)}", columns)
    ours = {(r.family, r.a, r.b): r for r in rows_of(findings.verdicts)}
    named_here = {(r.metric, r.a, r.b): key for key, r in ours.items()}
    theirs: dict[tuple[str, str, str], Any] = {}
    for r in rows_of(committed.verdicts) if committed is not None else ():
        key = (r.family, r.a, r.b)  # whatever its family is called there
        theirs[key if key in ours else named_here.get((r.metric, r.a, r.b), key)] = r
    for key in dict.fromkeys([*ours, *theirs]):
        cells: list[Text] = [*([rich_text(key[0])] if named else []), rich_text(f"{key[1]} − {key[2]}")]
        for side in (ours, theirs) if committed is not None else (ours,):
            row = side.get(key)
            interval = with_bounds(row.difference * scale, row.low * scale, row.high * scale) if row is not None else "–"
            if row is None:
                cells += [rich_text(interval), Text("not run", style="dim")]
            else:
                cells += [rich_text(interval), Text(said(row.verdict, row.size, row.mark), style=COLOURS[str(row.verdict)])]
            if by_pair and side is ours:
                cells.append(rich_text("" if row is None else levels_text(findings.pairs.of_effect(row))))
        table.rows.append(cells)
    return table


def _sweep(findings: Findings) -> list[RenderableType]:
    """The front in a table and what was found in sentences, or how far the sweep is."""
    if findings.sweep is None:
        return []
    sweep = findings.sweep
    what = f"{'front' if sweep.several else 'best trial'} in {objectives_text(sweep)}"
    seen = "on fresh seeds" if len(sweep.confirmed.points) else "as the search saw them"
    table = Table(title=rich_text(f"{what}; metrics in percent, {seen}"), title_justify="left", title_style="")
    confirmed = {row["number"]: row for row in sweep.confirmed.points.to_dict("records")}
    for column in (
        "point",
        "values",
        *(f"{title_of(name)} [95 %]" for name in sweep.file.names),
        *(("on the front",) if sweep.several else ()),
    ):
        table.add_column(rich_text(column), no_wrap=column != "values", justify="left" if column in ("point", "values") else "right")
    for trial in sweep.points:
        own = confirmed.get(trial.number) or dict(zip(sweep.file.names, trial.values or (), strict=True))
        values = values_text(trial.parameters)
        share = own.get("share", float("nan"))
        last = f"{share:.0%}" if share == share else "as searched" if trial.number not in confirmed else "–"
        name = own.get("arm", f"trial {trial.number}")
        shown = (name, values, *(interval_text(name, own) for name in sweep.file.names), *((last,) if sweep.several else ()))
        table.add_row(*map(rich_text, shown))
    said: list[RenderableType] = [rich_text(sentence) for sentence in sweep_sentences(sweep)]
    return [table, *said] if sweep.points else said


def _subgroups(findings: Findings) -> list[RenderableType]:
    """Contrasts by kinds of items, those that depend on them; the rest is in the report."""
    split = findings.subgroups
    depends = split.effects[split.effects["verdict"] == DEPENDS]
    if depends.empty:
        return []
    table = Table(title="differences that depend on the kind of items, points [95 %]", title_justify="left", title_style="")
    for column in ("contrast", "by", "levels"):
        table.add_column(column, no_wrap=column != "levels")
    for row in rows_of(depends):
        levels = "; ".join(level_text(level) for level in rows_of(split.of_effect(row)))
        table.add_row(rich_text(f"{row.a} − {row.b}"), rich_text(row.by), rich_text(levels))
    return [table]


def _crossed(findings: Findings) -> list[RenderableType]:
    """The effects of crossed factors; where a combination is missing, the contrasts of their levels."""
    tables = crossed_tables(findings)
    if not tables:
        return []
    wanted = tables.get("effects", tables["effect_contrasts"])
    short = too_few_seeds(wanted.data, "effects" if wanted.name == "effects" else "contrasts")
    title = f"crossed factors, {findings.metric}, points" + (f"; {short}" if short else "")
    table = Table(title=rich_text(title), title_justify="left", title_style="")
    for column in wanted.shown.columns:
        table.add_column(rich_text(column), no_wrap=True, justify="right" if column in ("p", "Holm p", "F", "seeds") else "left")
    for row in wanted.shown.itertuples(index=False):
        table.add_row(*map(rich_text, row))
    return [table]


def _alarms(findings: Findings, committed: Findings | None) -> list[Text]:
    """Before everything else: a line an alarm, or that there is none."""
    made = find_alarms(findings, committed)
    if not made:
        return [Text("No alarm: every cell is there, the self-checks hold, no rule found a signature.", style="dim")]
    return [rich_text(alarm.line(), {"error": "bold red", "warning": "yellow", "note": "dim"}[alarm.severity]) for alarm in made]


def _signatures(findings: Findings) -> list[Text]:
    """What the rules that found nothing could have found, and what could not be checked; those that did are among the alarms."""
    outcomes = check_signatures(findings)
    quiet = [f"{outcome.rule.name} ({outcome.reach})" for outcome in outcomes if not outcome.signs and not outcome.unchecked]
    lines = [Text(f"Checked and found nothing: {'; '.join(quiet)}.", style="dim")] if quiet else []
    if unchecked := [outcome.rule.name for outcome in outcomes if outcome.unchecked]:
        lines.append(Text(f"Not checked, or cannot tell: {', '.join(unchecked)}; the report says why.", style="dim"))
    return lines


def _short(path: Path) -> str:
    """Relative to the working directory where that is possible."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
