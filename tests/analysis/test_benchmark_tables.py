"""Benchmarks' own figures and rows that were not used stand in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis.benchmark_tables import benchmark_tables
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import paired_interval

F1 = {"none": [0.5, 0.25, 0.75, 0.5], "concat": [0.625, 0.5, 0.75, 1.0]}
POINTS = [1200.0, 1300.0, 1250.0, 1000.0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), arms=("none", "concat"), seeds=(0, 1, 2, 3), triplets=8)


@pytest.fixture
def judged(plain: Path, tmp_path: Path) -> Path:
    """A study whose arms were tested on POPE and MME too, and of whose rows some could not be used."""
    out = Path(shutil.copytree(plain, tmp_path / "out"))
    for arm, shares in F1.items():
        for seed, share in enumerate(shares):
            path = out / "cells" / f"{arm}-{seed:04d}" / "result.json"
            result = json.loads(path.read_text(encoding="utf-8"))
            result["benchmarks"] = {"pope": {"f1": share, "n": 9.0}, **({"mme": {"perception": POINTS[seed]}} if arm == "none" else {})}
            result["set_aside"] = {"pope": {"missing image": {"rows": 1 + seed % 3, "first": "image 'a|b.png' does not exist"}}}
            path.write_text(json.dumps(result), encoding="utf-8")
    return out


def test_figures_are_means_over_seeds_in_their_own_units(judged: Path) -> None:
    tables = benchmark_tables(Findings.of(judged))
    data = tables["benchmarks"].data.set_index(["benchmark", "figure", "arm"])
    for arm, shares in F1.items():
        interval = paired_interval(shares)
        assert data.loc[("pope", "f1", arm), ["n", "mean", "half"]].tolist() == pytest.approx([4, interval.mean, interval.half])
    assert data.loc[("mme", "perception", "none"), "mean"] == 1187.5
    shown = tables["benchmarks"].shown.set_index("figure")
    assert shown.loc["f1", "concat"].startswith("0.7188 ± ")
    assert shown.loc["perception", "none"].startswith("1187.50 ± ")
    assert shown.loc["perception", "concat"] == ""
    assert "n" not in shown.index
    aside = tables["set_aside"].data
    assert aside[["where", "reason", "rows"]].to_numpy().tolist() == [["pope", "missing image", 3]]


@pytest.mark.usefixtures("no_figures")
def test_every_form_of_the_report_holds_them(judged: Path) -> None:
    page = analysis.write_report(judged).read_text(encoding="utf-8")
    text = (judged / "report" / "report.md").read_text(encoding="utf-8")
    for words in ("perception", "missing image"):
        assert words in page
        assert words in text
    assert set(pd.read_csv(judged / "report" / "tables" / "benchmarks.csv")["benchmark"]) == {"pope", "mme"}


def test_a_study_on_generated_items_alone_has_none(plain: Path) -> None:
    assert benchmark_tables(Findings.of(plain)) == {}
