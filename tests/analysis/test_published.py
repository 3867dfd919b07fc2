"""Fresh results beside the committed ones: what was run here is never said not to have been."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.tables import published_table
from fila_lab.analysis.terminal import terminal_summary


class _Renamed:
    """Findings whose families have other names, or stand in other families too."""

    def __init__(self, findings: Findings, verdicts: pd.DataFrame) -> None:
        self.folder, self.metric, self.verdicts = findings.folder, findings.metric, verdicts


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    out = Path(tmp_path_factory.mktemp("published"))
    return Findings.of(write_study(out, arms=("none", "concat", "addition"), seeds=(0, 1, 2), triplets=8, tuning=False))


@pytest.mark.parametrize("change", ["none", "renamed", "twice"])
def test_a_contrast_is_found_whatever_its_family_is_called(findings: Findings, change: str) -> None:
    own = findings.verdicts
    other = own.assign(family="other") if change != "none" else own
    here = pd.concat([other, own]) if change == "twice" else other
    table = published_table(_Renamed(findings, here), findings)  # type: ignore[arg-type]
    assert len(table) == len(own) > 1
    assert list(table["fresh [95 %]"]) == list(table["published [95 %]"])
    assert list(table["fresh verdict"]) == list(table["published verdict"])


def test_the_terminal_shows_it_in_one_row(tmp_path: Path) -> None:
    out = write_study(tmp_path / "fresh", arms=("none", "concat"), seeds=(0, 1), triplets=8, tuning=False)
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(terminal_summary(out))
    rows = [line for line in console.export_text().splitlines() if "concat − none" in line and "│" in line]
    assert len(rows) == 1, "the published family has another name"
    assert "not testable" in rows[0]
    assert "beyond the margin" in rows[0]


def test_what_was_not_run_is_said(findings: Findings) -> None:
    table = published_table(_Renamed(findings, findings.verdicts.iloc[1:]), findings)  # type: ignore[arg-type]
    assert (table["fresh [95 %]"] == "not run here").tolist() == [True] + [False] * (len(table) - 1)
