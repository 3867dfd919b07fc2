"""The report, its tables and figures, the gallery and the terminal summary, on simulated studies."""

from __future__ import annotations

import functools
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.figures import draw_figures
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.gallery import load_flips
from fila_lab.analysis.plots import curves_plot
from fila_lab.analysis.style import arm_styles, number, quantity, with_bounds
from fila_lab.analysis.tables import all_tables
from fila_lab.config.base import FilaError
from fila_lab.config.study import Arm


@pytest.fixture(scope="module")
def reported(full_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = Path(shutil.copytree(full_study, tmp_path_factory.mktemp("reported") / "experiments" / "results" / "fusion_methods"))
    assert analysis.write_report(out) == out / "report" / "report.html"
    return out


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_is_self_contained_and_says_everything(reported: Path) -> None:
    page = (reported / "report" / "report.html").read_text(encoding="utf-8")
    links = _Links()
    links.feed(page)
    assert links.sources
    assert all(source.startswith(("data:image/", "data:text/csv", "#alarms")) for source in links.sources)
    assert "http" not in re.sub(r"data:[a-z]+/[^\"]*", "", page)
    for said in (
        "Which fusion reads codes that a seam cuts",
        "±3.0 points",
        "Better, beyond the margin: concat − none",
        "Measured on mini, with one pair of towers; it says nothing about paper.",
        "simulated not_finite at step 17",
        "0123456789abcdef",
        "c0dec0dec0dec0de",
        "versions.torch",
        "runtime.precision",
        "needs 12 finished baseline cells, there are 8",
        "The main cells ran with:",
        "Checked and found nothing; it could have found:",
    ):
        assert said in page, said
    markdown = (reported / "report" / "report.md").read_text(encoding="utf-8")
    assert "Better, beyond the margin: concat − none" in markdown
    assert "| methods | concat − none | 8 |" in markdown
    assert "FAILED" not in markdown


def test_every_table_is_csv_and_latex_and_every_figure_png_and_svg(reported: Path) -> None:
    tables = reported / "report" / "tables"
    names = {"verdicts", "arms", "tasks", "gaps", "secondary", "per_seed", "tuning", "failures", "flips", "manifest", "alarms", "subgroups"}
    assert {path.stem for path in tables.glob("*.csv")} == {path.stem for path in tables.glob("*.tex")} == names
    verdicts = pd.read_csv(tables / "verdicts.csv")
    assert (verdicts["preset"] == "mini").all()
    assert verdicts.set_index(["a", "b"]).at[("concat", "none"), "verdict"] == "better"
    text = (tables / "arms.tex").read_text(encoding="utf-8")
    assert r"\toprule" in text
    assert r"cross\_attention" in text
    figures = {path.stem for path in (reported / "report" / "figures").glob("*.svg")}
    assert figures == {path.stem for path in (reported / "report" / "figures").glob("*.png")}
    assert figures == {"contrasts", "differences", "seeds", "gaps", "cost", "curves", "progress", "tuning"}


def test_arms_table_holds_means_by_hand_and_costs(full_findings: Findings) -> None:
    table = analysis.arms_table(full_findings).set_index("arm")
    frame = full_findings.frame
    assert table.at["concat", "exact/reading"] == pytest.approx(frame.loc[frame["arm"] == "concat", "exact/reading"].mean())
    assert table.at["addition", "seeds"] == 7
    assert table.at["addition", "failed"] == 1
    assert table.at["concat", "fusion_parameters"] == 40_000
    seeds = analysis.per_seed_table(full_findings)
    assert seeds["seed"].tolist() == list(range(8))
    assert seeds["addition"].isna().sum() == 1


@pytest.mark.slow
def test_a_small_budget_says_so_and_prints_published_verdicts(small_study: Path, reported: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small_study, tmp_path / "small"))
    page = analysis.write_report(out, reported).read_text(encoding="utf-8")
    assert analysis.write_report(out, reported).read_text(encoding="utf-8") == page, "the same folder gives the same page"
    assert "3 seeds cannot reach p &lt; 0.05 over 4 contrasts; 8 seeds are needed" in page
    assert "This budget has too few seeds for a test" in page
    table = pd.read_csv(out / "report" / "tables" / "published.csv").set_index("A − B")
    assert table.at["concat − none", "fresh verdict"] == "not testable"
    assert table.at["concat − none", "published verdict"] == "better, beyond the margin"
    assert table.at["oracle_map − none", "fresh [95 %]"] == "not run here"
    shown = _printed(out, reported)
    assert "No verdict from this run: 3 seeds cannot reach" in shown
    assert "published verdict" in shown
    assert "better" in shown
    assert "report/report.html" in shown.replace("\n", "")


def test_published_results_are_found_by_the_studys_name(reported: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reported.parents[2])
    assert "published verdict" in _printed(small_study, None)
    assert "published verdict" not in _printed(reported, None)
    with pytest.raises(FilaError, match="no such folder"):
        analysis.terminal_summary(small_study, small_study / "nowhere")


def test_a_single_seed_without_costs_curves_or_predictions_is_still_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", functools.partial(draw_figures, formats=("png",)))
    out = write_study(tmp_path / "bare", arms=("none", "concat"), seeds=(0,), triplets=12, tuning=False)
    (out / "costs.json").unlink()
    for cell in (out / "cells").iterdir():
        (cell / "predictions.parquet").unlink()
        result = json.loads((cell / "result.json").read_text(encoding="utf-8"))
        (cell / "result.json").write_text(json.dumps(result | {"curve": []}), encoding="utf-8")
    page = analysis.write_report(out, tmp_path / "bare").read_text(encoding="utf-8")
    assert "1 seed cannot reach" in page
    assert "no cell has readable predictions" in page
    assert "what arms cost is not measured yet" in page
    assert not set(all_tables(Findings.of(out))["arms"].shown.columns) & {"params", "FLOPs", "ms", "MiB"}, "no column of dashes"
    assert not (out / "report" / "figures" / "cost.png").exists(), "no axes without a point"


def test_a_curve_of_one_point_can_be_seen(tmp_path: Path) -> None:
    out = write_study(tmp_path / "short", arms=("none", "concat"), seeds=(0,), triplets=12, tuning=False)
    for file in (out / "cells").glob("*/result.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(result | {"curve": result["curve"][-1:]}), encoding="utf-8")
    figure = curves_plot(Findings.of(out))
    assert figure is not None
    drawn = [line for panel in figure.axes for line in panel.lines if np.size(line.get_xdata())]
    assert len(drawn) == 4, "loss and validation of two arms"
    assert all(line.get_marker() != "None" for line in drawn)


def test_the_loss_of_validation_has_a_panel_where_there_is_one(tmp_path: Path) -> None:
    out = write_study(tmp_path / "staged", arms=("none", "concat"), seeds=(0,), triplets=12, tuning=False)
    for file in (out / "cells").glob("*/result.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        result["curve"][-1] |= {"validation_loss": 1.5, "stage": "align"}
        file.write_text(json.dumps(result), encoding="utf-8")
    figure = curves_plot(Findings.of(out))
    assert figure is not None
    panels = {panel.get_title(loc="left"): panel for panel in figure.axes}
    assert list(panels)[:2] == ["training loss", "validation loss"]
    assert [line.get_ydata().tolist() for line in panels["validation loss"].lines] == [[1.5], [1.5]]


def test_an_unwritable_folder_is_named(full_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "blocked"))
    (out / "report").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(FilaError, match="the report cannot be written"):
        analysis.write_report(out)


def test_gallery_shows_flips_with_pictures_or_without(full_study: Path, small_study: Path) -> None:
    for out, pictured in ((full_study, True), (small_study, False)):
        folder = analysis.StudyFolder.open(out)
        flips = load_flips(folder, analysis.load_predictions(folder))
        assert flips
        assert all(bool(flip.pictures) is pictured for flip in flips)
        assert all(set(flip.answers) == set(folder.arms) for flip in flips)
        best = flips[0]
        frame = analysis.load_predictions(folder, "none")
        own = frame[(frame["item_id"] == best.item_id) & (frame["place"] == "cut")]
        assert (best.answers["none"]["cut"].right, best.answers["none"]["cut"].seeds) == (own["correct"].sum(), len(own))


@pytest.mark.usefixtures("no_figures")
def test_matched_arms_stand_with_their_deviations(small_study: Path, tmp_path: Path) -> None:
    out = shutil.copytree(small_study, tmp_path / "out")
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    match = {
        "quantity": "parameters",
        "target": "none",
        "wanted": 1e6,
        "path": "fusion.hidden",
        "value": 40,
        "reached": 1.01e6,
        "part": 5e4,
    }
    plan["matches"] = {"concat": {**match, "off_whole": 0.01, "off_part": 0.2}}
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    page = analysis.write_report(out).read_text(encoding="utf-8")
    assert "fusion.hidden = 40" in page
    assert "+20.00%" in page
    assert "Matched arms" in (out / "report/report.md").read_text(encoding="utf-8")
    assert pd.read_csv(out / "report/tables/matches.csv").loc[0, "off_part"] == 0.2


def test_a_damaged_gallery_costs_only_the_pictures(full_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "gallery"))
    (out / "gallery" / "gallery.json").write_text('[{"item_id": "test-0000", "ima', encoding="utf-8")
    folder = analysis.StudyFolder.open(out)
    assert not load_flips(folder, analysis.load_predictions(folder))[0].pictures


def test_what_came_from_mini_is_called_so_in_every_caption(full_findings: Findings) -> None:
    tables = all_tables(full_findings)
    assert all("mini, one pair of towers" in table.caption for name, table in tables.items() if name != "failures")


def test_an_arm_keeps_its_colour_under_every_budget(full_study: Path, small_study: Path) -> None:
    full, small = (arm_styles(analysis.StudyFolder.open(out)) for out in (full_study, small_study))
    assert full == small
    assert len({(style.colour, style.marker) for style in full.values()}) == len(full)


def test_no_two_arms_look_alike_however_many_there_are(full_study: Path) -> None:
    folder = analysis.StudyFolder.open(full_study)
    arms = {f"a{number}": Arm(role="rival") for number in range(40)}
    styles = arm_styles(replace(folder, study=folder.study.model_copy(update={"arms": arms})))
    assert len({(style.colour, style.marker) for style in styles.values()}) == 40


def test_numbers_for_people() -> None:
    assert number(-0.04) == "0.0"
    assert number(float("nan")) == "–"
    assert with_bounds(-1.23, -2.0, 0.5) == "−1.2 [−2.0, +0.5]"
    assert quantity(1_040_000) == "1.04 M"
    assert quantity(3.5e11) == "350 G"


def _printed(out: Path, published: Path | None) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(out, published))
    return console.export_text()


def test_the_terminal_names_families_that_have_a_metric_of_their_own() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(Path(__file__).parents[2] / "experiments" / "results" / "fusion_families"))
    (row,) = [line for line in console.export_text().splitlines() if "exact/table" in line and "concat − none" in line]
    assert "better" in row
