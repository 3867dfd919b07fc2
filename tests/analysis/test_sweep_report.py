"""A sweep in every output: page, Markdown, tables, figures, terminal; unfinished, and beside families; names that do not overprint."""

from __future__ import annotations

import functools
import io
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from rich.console import Console
from sweeps import METRIC, write_sweep

from fila_lab import analysis
from fila_lab.analysis import sweep
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.importance import importances
from fila_lab.analysis.label_places import place_labels
from fila_lab.analysis.sweep_plots import front_plot, hypervolume_plot
from fila_lab.analysis.sweep_tables import sweep_tables
from fila_lab.analysis.sweep_text import sweep_sentences
from fila_lab.config.json_files import read_json

FIGURES = {"front", "hypervolume", "importance"}
TABLES = {"front", "fresh_seeds", "dominated", "trials", "hypervolume", "importance"}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer shuffles: what they are for is tested beside them."""
    monkeypatch.setattr(sweep, "importances", functools.partial(importances, shuffles=1))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("swept") / "out", seeds=(0, 1, 2))


def said(out: Path) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=240).print(analysis.terminal_summary(out))
    return buffer.getvalue()


@pytest.mark.slow
def test_the_report_holds_the_sweep_in_every_form(swept: Path) -> None:
    page = analysis.write_report(swept)
    html = page.read_text(encoding="utf-8")
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    points = f"Front of {len(sweep_of(swept).points)} points in"
    for text in ("<h2>Sweep</h2>", points, "Winner&#39;s curse", "Every trial of the sweep", "does not fit", "above noise"):
        assert text in html, text
    assert "<h2>Contrasts by family</h2>" not in html
    assert "too few seeds for a test" not in html
    assert "## Front of the sweep" in markdown
    assert "nothing to judge" not in html + markdown
    tables = page.parent / "tables"
    assert {path.stem for path in tables.glob("*.csv")} >= TABLES
    assert {path.stem for path in tables.glob("*.tex")} >= TABLES
    assert {path.stem for path in (page.parent / "figures").glob("*.png")} >= FIGURES
    front = pd.read_csv(tables / "front.csv")
    assert (front["preset"] == "mini").all()
    assert front["number"].tolist() == [trial.number for trial in sweep_of(swept).file.best]
    assert analysis.write_report(swept).read_text(encoding="utf-8") == html, "the same folder gives the same page"


def sweep_of(out: Path) -> sweep.SweepFindings:
    findings = Findings.of(out).sweep
    assert findings is not None
    return findings


def test_every_table_says_what_it_was_measured_on(swept: Path) -> None:
    tables = sweep_tables(Findings.of(swept))
    assert set(tables) == TABLES
    assert all("mini, one pair of towers" in table.caption for table in tables.values())
    assert "reference point: the worst value of all complete trials" in tables["hypervolume"].caption
    assert tables["trials"].shown["state"].tolist().count("complete") == 22
    for table in tables.values():
        assert not table.shown.astype(str).isin(["nan", "None"]).any().any(), table.name


@pytest.mark.slow
def test_the_terminal_shows_the_front_and_no_empty_table_of_contrasts(swept: Path) -> None:
    text = said(swept)
    for arm in sweep_of(swept).file.arms:
        assert arm in text
    assert "on the front" in text
    assert "A − B" not in text


def test_declared_families_keep_their_verdicts_beside_the_front(tmp_path: Path) -> None:
    families = {"fusion": {"contrasts": [["concat", "none"]]}}
    out = write_sweep(tmp_path / "out", trials=5, seeds=(0, 1), families=families)
    text = said(out)
    assert "concat − none" in text
    assert "Front of" in text


def test_an_unfinished_sweep_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    out = write_sweep(tmp_path / "out", done=9)
    text = said(out)
    assert "The sweep goes on: 9 of 24 trials are told (8 complete, 1 impossible); the same command goes on." in text
    assert "arm without results" not in text, "nothing has been run, which is said once"
    assert "self-check not made" not in text, "no verdict leans on it yet"
    assert "as the search saw them" in text
    assert "on fresh seeds" not in text
    none = write_sweep(tmp_path / "none", done=0)
    assert "0 of 24 trials are told (none)" in " ".join(sweep_sentences(sweep_of(none)))


@pytest.mark.slow
def test_an_unfinished_sweep_has_a_page(tmp_path: Path) -> None:
    out = write_sweep(tmp_path / "out", done=9)
    assert "The sweep goes on" in analysis.write_report(out).read_text(encoding="utf-8")
    figures = {path.stem for path in (out / "report" / "figures").glob("*.png")}
    assert figures == {"front", "hypervolume"}, "importance needs trials, the others cells"


@pytest.mark.slow
def test_names_in_the_front_overprint_nothing(tmp_path: Path) -> None:
    findings = Findings.of(write_sweep(tmp_path / "out", objectives=(METRIC, "flops", "latency"), trials=40, seeds=(0, 1)))
    figure = front_plot(findings)
    assert figure is not None
    figure.draw_without_rendering()
    assert len(figure.axes) == 2
    for panel in figure.axes:
        assert len(names_of(panel.figure, panel)) >= 5
        assert overprinted(figure, panel) == 0


def names_of(figure: object, panel: object) -> list[Annotation]:
    return [text for text in panel.texts if isinstance(text, Annotation) and text.get_text()]  # type: ignore[attr-defined]


def overprinted(figure: Figure, panel: object) -> int:
    boxes = [name.get_window_extent() for name in names_of(figure, panel)]
    return sum(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_names_of_a_crowd_keep_clear_of_each_other_and_of_the_points() -> None:
    rng = np.random.default_rng(0)
    figure = Figure(figsize=(6, 5))
    panel = figure.subplots()
    xs, ys = rng.normal(0, 1, 14), rng.normal(0, 1, 14)
    panel.plot(xs, ys, "o")
    place_labels(panel, [f"trial-{n}" for n in range(14)], xs.tolist(), ys.tolist(), fontsize=8)
    assert overprinted(figure, panel) == 0
    pixels = panel.transData.transform(np.column_stack([xs, ys]))
    for name in names_of(figure, panel):
        box = name.get_window_extent()
        assert not any(box.contains(x, y) for x, y in pixels)
        assert panel.get_window_extent().contains(*box.min)
        assert panel.get_window_extent().contains(*box.max)


def test_the_best_so_far_is_drawn_of_one_objective(tmp_path: Path) -> None:
    findings = Findings.of(write_sweep(tmp_path / "out", objectives=(METRIC,), trials=12, seeds=(0, 1)))
    assert front_plot(findings) is None
    figure = hypervolume_plot(findings)
    assert figure is not None
    line = max(figure.axes[0].lines, key=lambda own: len(np.asarray(own.get_ydata())))
    values = [trial["values"][0] for trial in read_json(findings.folder.out / "sweep/trials.json")["trials"] if trial["values"]]
    assert max(np.asarray(line.get_ydata())) == pytest.approx(max(values) * 100)
