"""Parts of the page by themselves: colours in both schemes, the first figure, the picture of tasks and arms, rows by family, words."""

from __future__ import annotations

import colorsys
import io
import itertools
import xml.dom.minidom
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fila_lab.analysis.family_rows import family_rows
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.forest import forest_of
from fila_lab.analysis.heat_map import heat_map, task_table
from fila_lab.analysis.schemes import DARK_GROUND, DARK_INK, LEGIBLE, LIGHT_GROUND, SHAPE, both_schemes, contrast, in_dark, ink_on, legible
from fila_lab.analysis.seam_plots import gaps_picture
from fila_lab.analysis.style import BASELINE, COLOURS
from fila_lab.analysis.tables import all_tables
from fila_lab.analysis.words import words_of

COLOUR = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")
RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture
def findings(full_findings: Findings) -> Findings:
    return full_findings


def test_contrast_is_that_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1


@given(COLOUR, COLOUR)
def test_text_is_legible_on_any_ground(colour: str, ground: str) -> None:
    assert contrast(ink_on(ground), ground) >= LEGIBLE
    assert contrast(legible(colour, ground), ground) >= LEGIBLE


@given(COLOUR)
def test_whatever_is_seen_on_white_is_seen_in_the_dark(colour: str) -> None:
    """Greys turn about, so faint ones stay faint; hues are brought to what lines need."""
    saturation = colorsys.rgb_to_hsv(*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)))[1]
    if saturation >= 0.12 or contrast(colour, LIGHT_GROUND) >= LEGIBLE:
        assert contrast(in_dark(colour), DARK_GROUND) >= SHAPE


def test_arms_are_seen_in_both_schemes() -> None:
    assert in_dark("#ffffff") == DARK_GROUND
    assert in_dark("#000000") == DARK_INK
    assert len({in_dark(colour) for colour in (BASELINE, *COLOURS)}) == 1 + len(COLOURS)


def test_a_figure_has_a_rule_for_each_of_its_colours() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], color="#0072b2")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    made = both_schemes(buffer.getvalue())
    sheet = xml.dom.minidom.parseString(made).getElementsByTagName("style")[-1].toxml() + made
    assert '[style*="stroke: #0072b2"]{stroke:' + in_dark("#0072b2") in sheet
    assert '[style*="fill: #ffffff"]{fill:' + DARK_GROUND in sheet
    assert made.count("prefers-color-scheme") == 1


def test_the_first_figure_places_every_interval_on_one_axis(findings: Findings) -> None:
    forest = forest_of(findings)
    assert forest is not None
    assert [name for name, _ in forest.families] == ["methods"]
    assert forest.left_out == ["controls"]
    for _, lines in forest.families:
        for line in lines:
            assert line.left is not None
            assert line.width is not None
            assert 0 <= line.left <= line.mean <= line.left + line.width <= 100
    (_, lines), shown = forest.families[0], findings.verdicts.query("family == 'methods'")
    spread = float(shown["difference"].max() - shown["difference"].min())
    for line, other in itertools.product(lines, repeat=2):
        wanted = shown.set_index(["a", "b"])["difference"]
        apart = (wanted[line.a, line.b] - wanted[other.a, other.b]) / spread
        widest = max(one.mean for one in lines) - min(one.mean for one in lines)
        assert line.mean - other.mean == pytest.approx(apart * widest, abs=0.05)
    assert all(0 <= at <= 100 for at, _ in forest.ticks)
    assert {text: at for at, text in forest.ticks}["0"] == forest.zero


def test_what_is_more_numerous_stands_in_rows(findings: Findings) -> None:
    few = heat_map(findings, task_table(findings))
    assert few is not None
    assert (few.corner, few.columns, len(few.rows)) == ("arm", ["reading", "coarse"], 6)
    heading, (square, _) = few.rows[1]
    mean = findings.frame.loc[findings.frame["arm"] == "concat", "exact/reading"].mean()
    assert (heading, square.text) == ("concat", f"{mean * 100:.1f}")
    assert square.hint.startswith(f"concat, reading: {mean * 100:.1f} % [")
    assert "8 seeds; cut " in square.hint
    assert all(contrast(one.ink, one.ground) >= LEGIBLE for _, squares in few.rows for one in squares)
    many = Findings.of(RESULTS / "fusion_families")
    drawn = heat_map(many, task_table(many))
    assert drawn is not None
    assert (drawn.corner, len(drawn.columns)) == ("task", 2)
    assert {name for name, _ in drawn.rows} >= {
        "reading",
        "document",
        "table",
        "chart",
        "counting",
        "spatial",
        "attribute",
        "presence",
        "coarse",
    }


def test_every_task_has_its_seam() -> None:
    many = Findings.of(RESULTS / "fusion_families")
    picture = gaps_picture(many)
    assert picture is not None
    assert [panel.says.partition(":")[0] for panel in picture.panels[::3]] == many.tasks


def test_families_of_one_contrast_stand_together(findings: Findings) -> None:
    methods, controls = family_rows(findings, all_tables(findings)["verdicts"])
    assert (methods["name"], methods["controls"], methods["named"], len(methods["rows"])) == ("methods", False, False, 4)
    assert (controls["name"], controls["controls"]) == ("controls", True)
    assert methods["columns"][0] == "difference [95 %]"
    assert not {"verdict", "size", "mark", "A − B"} & set(methods["columns"]), "they stand beside the name"
    many = Findings.of(RESULTS / "fusion_families")
    (together,) = family_rows(many, all_tables(many)["verdicts"])
    assert together["named"]
    assert len(together["rows"]) == 9


def test_only_words_that_the_study_uses_are_explained(findings: Findings, tmp_path: Path) -> None:
    words = dict(words_of(findings))
    assert {"cut", "sham", "intact", "control"} <= set(words)
    assert "15% of its ink" in words["cut"]
    assert "k, detail cells" not in words
    assert "second baseline" not in words
    assert "k, detail cells" in dict(words_of(Findings.of(RESULTS / "detail_resolution")))
