"""Names, labels, questions and answers are text: they appear as they were written in every form of the report."""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import plots
from fila_lab.analysis.escape import latex_text, markdown_text, plot_text, rich_text
from fila_lab.analysis.findings import Findings
from fila_lab.config.texts import one_line, width

NASTY = (
    "[/red]",
    r"$\frac{$",
    "_concat",
    "[multi]",
    "<b>bold</b>",
    "a & b &amp; c",
    "x | y",
    "two\nlines",
    "🦊 日本",
    "שלום",
    r"50 % _of_ #1 \alpha {x} ^2 ~",
    "=1+1",
    "NA",
    "null",
    "None",
    "nan",
    "true",
    "1e5",
    "010",
    "- item",
    "# head",
    "1. one",
    "`code` *em* **b** ~~s~~",
    "[link](http://x) ![i](y) [^1]",
    ":smile: 12:30:45",
    "tab\tand\x1b[31mred",
    "a ± b ± c",
    "*",
    "better",
    "--- | ---",
    "quote \" and ' comma, ; semicolon",
    r"\\",
    "$5 and $6",
    "<!-- gone -->",
    "{{ 7 * 7 }} {% raw %}",
)
"""Each breaks or vanishes somewhere when it is not taken as text."""
SETS = [NASTY[start : start + 6] for start in range(0, len(NASTY) - 5, 5)] + [NASTY[-6:]]


def shown(text: str) -> str:
    return " ".join(one_line(text).split())


def write_nasty(out: Path, texts: tuple[str, ...], where: str) -> Path:
    """A study whose arms are named, or labelled, by `texts`; its question and the items' questions hold them too."""
    arms = ("none", "concat", "addition", "cross_attention", "foreign", "oracle_map")
    write_study(out, arms=arms, seeds=(0, 1, 2, 3, 4, 5, 6, 7), triplets=12, failed={("addition", 3): "not_finite"})
    new = dict(zip(arms, texts, strict=True)) if where == "names" else {arm: arm for arm in arms}
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    study = plan["study"]
    study["arms"] = {
        new[arm]: {**own, "label": None if where == "names" else text}
        for (arm, own), text in zip(study["arms"].items(), texts, strict=True)
    }
    study["families"] = {
        f"{texts[0]}{name}": {**family, "contrasts": [[new[a], new[b]] for a, b in family["contrasts"]]}
        for name, family in study["families"].items()
    }
    study["winners"] = {new[arm]: values for arm, values in study["winners"].items()}
    for budget in study["budgets"].values():
        budget["arms"] = [new[arm] for arm in budget["arms"]] if budget["arms"] else None
    study["question"] = " ".join(texts)
    for cell in plan["cells"]:
        cell["arm"] = new[cell["arm"]]
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    costs = json.loads((out / "costs.json").read_text(encoding="utf-8"))
    (out / "costs.json").write_text(json.dumps({new[arm]: value for arm, value in costs.items()}), encoding="utf-8")
    for path in out.glob("cells/*/predictions.parquet"):
        frame = pd.read_parquet(path)
        frame["question"] = [f"{texts[i // 3 % len(texts)]}?" for i in range(len(frame))]
        frame.to_parquet(path)
    return out


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.text.append(" ")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def html_text(page: str) -> tuple[str, set[str]]:
    parser = _Page()
    parser.feed(re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL))
    return " ".join("".join(parser.text).split()), parser.tags


HARDEST = ("[/red]", r"$\frac{$", "_concat", "<b>bold</b>", "x | y", "NA")


@pytest.mark.slow
@pytest.mark.parametrize(("texts", "where"), [(HARDEST, "names"), *((texts, where) for texts in SETS for where in ("names", "labels"))])
def test_a_whole_report_shows_every_text(texts: tuple[str, ...], where: str, tmp_path: Path) -> None:
    out = write_nasty(tmp_path / "study", texts, where)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(Glyph|legend|label).*")
        page = analysis.write_report(out)
    found, tags = html_text(page.read_text(encoding="utf-8"))
    markdown = (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).render((out / "report" / "report.md").read_text(encoding="utf-8"))
    )
    rendered, markdown_tags = html_text(markdown)
    buffer = io.StringIO()
    Console(file=buffer, width=600).print(analysis.terminal_summary(out))
    terminal = " ".join(buffer.getvalue().split())
    tex = "\n".join(path.read_text(encoding="utf-8") for path in (out / "report" / "tables").glob("*.tex"))
    for text in texts:
        for said in (found, rendered, terminal):
            assert shown(text) in said, text
        assert latex_text(text) in tex
    assert "b>" not in tags
    assert page.read_text(encoding="utf-8").count("<script") == 1, "our own"
    assert markdown_tags <= {"h1", "h2", "p", "img", "ul", "li", "strong", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert rendered.count("bold") == 0 or "<b>" not in markdown
    arms = pd.read_csv(out / "report" / "tables" / "arms.csv", keep_default_na=False, dtype=str)
    if where == "names":
        assert sorted(arms["arm"]) == sorted(texts)
        assert set(analysis.load_tuning(out)["arm"]) == set(texts)


def drawn(figure: Figure) -> list[str]:
    """Texts as they are seen: what matplotlib makes of its own escapes."""
    return [text.get_text().replace(r"\$", "$").replace("\N{ZERO WIDTH SPACE}", "") for text in figure.findobj(Text)]  # type: ignore[attr-defined]


def test_every_label_stands_in_every_figure_and_legend(tmp_path: Path) -> None:
    texts = ("_concat", r"$\frac{$", "$5 and $6", "[multi]", "🦊 日本", "שלום")
    findings = Findings.of(write_nasty(tmp_path / "study", texts, "labels"))
    for draw in (plots.seeds_plot, plots.cost_plot, plots.gaps_plot, plots.curves_plot, plots.tuning_plot):
        figure: Any = draw(findings)
        figure.savefig(io.BytesIO())
        for text in texts:
            expected = r"\U0001f98a \u65e5\u672c" if text == "🦊 日本" else text
            assert expected in drawn(figure), (draw.__name__, text)


ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.text(
    "[]()<>&|$_*`~\\#%^{}!:=-+ a1\n", min_size=1, max_size=20
)


def rendered_cell(text: str) -> str:
    source = f"| {markdown_text(text)} | end |\n| --- | --- |\n| {markdown_text(text)} | end |"
    cells = re.findall(r"<t[hd]>(.*?)</t[hd]>", MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source), re.DOTALL)
    assert len(cells) == 4
    return html_text(cells[2])[0]


def rendered_item(text: str) -> str:
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- {markdown_text(text)}")
    assert set(re.findall(r"<(\w+)", html)) <= {"ul", "li"}, html
    return html_text(html)[0]


def rich_shown(text: str) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=500).print(rich_text(text))
    return buffer.getvalue()


@pytest.mark.parametrize("show", [rendered_cell, rendered_item, rich_shown])
@settings(max_examples=150, deadline=None)
@given(text=ANY)
def test_any_text_comes_out_as_it_went_in(show: Callable[[str], str], text: str) -> None:
    assert " ".join(show(text).split()) == shown(text)


@settings(max_examples=150, deadline=None)
@given(ANY)
def test_latex_and_plots_hold_no_mark_of_their_own(text: str) -> None:
    plain = latex_text(text)
    for escape in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        r"\textless{}",
        r"\textgreater{}",
        r"\textbar{}",
        r"$\pm$",
        "$-$",
    ):
        plain = plain.replace(escape, "")
    assert not re.search(r"(?<!\\)[$&%#_~^<>|]", plain)
    assert not latex_text(text).startswith(("[", "*"))
    assert plot_text(text).count("$") == plot_text(text).count(r"\$")
    assert not plot_text(text).startswith("_")
    assert width(one_line(text)) >= 0
    assert len(one_line(text).splitlines()) <= 1
