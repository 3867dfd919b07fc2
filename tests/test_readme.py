"""What the README says was found is what the published results give, number by number."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from fila_lab import analysis
from fila_lab.analysis.statistics import paired_interval
from fila_lab.config.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOUND = README.partition("## What was found")[2].partition("\n## ")[0]
NUMBER = r"[+-]\d+\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\]"
ALL = "exact/reading"
CUT, SHAM, INTACT, CROSS = (f"{ALL}/{place}" for place in ("cut", "sham", "intact", "cross"))


class Said(NamedTuple):
    """A difference in the README, one arm's metric less another's: mean and 95 % interval over seeds; and the verdict where it has one."""

    study: str
    one: str
    other: str
    metric: str = ALL
    verdict: str = ""
    other_metric: str = ""


SAID = [
    Said("fusion_methods", "concat", "none", verdict="better, beyond the margin"),
    Said("fusion_methods", "addition", "none", verdict="better, beyond the margin"),
    Said("fusion_methods", "cross_attention", "none", verdict="better, beyond the margin"),
    Said("fusion_methods", "foreign", "none", verdict="better, beyond the margin"),
    Said("fusion_methods", "concat", "foreign", verdict="better, beyond the margin"),
    Said("fusion_methods", "cross_attention", "addition", CUT),
    Said("fusion_methods", "cross_attention", "addition", INTACT),
    Said("remove_fusion", "none", "concat", CUT, "worse, beyond the margin"),
    Said("why_it_works", "high_canvas", "high_tile", verdict="better, size open"),
    Said("why_it_works", "high_canvas", "low_canvas", verdict="equivalent"),
    Said("why_it_works", "low_tile", "none", verdict="better, beyond the margin"),
    Said("detail_resolution", "k3", "k2", verdict="better, beyond the margin"),
    Said("detail_resolution", "k3", "k4", verdict="better, beyond the margin"),
    Said("fusion_families", "concat", "none", "exact/table", "better, beyond the margin"),
    Said("fusion_families", "concat", "none", "exact/counting", "inconclusive"),
    Said("alignment_small", "shift_1", "none", verdict="not testable"),
    Said("fusion_matched_small", "concat", "addition_matched", verdict="not testable"),
    Said("fragmentation_rivals_small", "cross_tile", "cross_tile_twin", CUT, "not testable"),
    Said("seam_dose_small", "none", "none", CUT, other_metric=SHAM),
    Said("seam_dose_small", "none", "none", CROSS, other_metric=CUT),
]
QUOTED = [
    ("accuracy_cost", ("56.2 %", "107 M FLOPs"), r"^\| trial-20 \| cross_attention \| .* \| 56\.2 \[.*\] \| 107 M \|"),
    ("accuracy_cost", ("55.8 %", "153 M"), r"gated concat \(FILA\) \(exact/reading 55\.8 % \[.*?\], 153 M FLOPs\)"),
]
"""Study, texts of its row, and where its report says so."""
TURNED = {"better": "worse", "worse": "better"}


@functools.cache
def frame(study: str) -> pd.DataFrame:
    return analysis.load_study_frame(RESULTS / study)


def difference(said: Said) -> str:
    cells = frame(said.study).set_index("seed")
    one = cells[cells["arm"] == said.one][said.metric]
    other = cells[cells["arm"] == said.other][said.other_metric or said.metric]
    own = paired_interval((one - other).dropna())
    return f"{100 * own.mean:+.1f} [{100 * own.low:+.1f}, {100 * own.high:+.1f}]"


def rows(study: str) -> str:
    """The rows of the table that lead to a study's report."""
    return "\n".join(line for line in FOUND.splitlines() if f"results/{study}/" in line)


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.study}-{said.one}-{said.other}-{said.metric.replace('/', '.')}")
def test_a_difference_is_that_of_the_published_cells(said: Said) -> None:
    assert difference(said) in rows(said.study)


def test_every_difference_is_one_of_these() -> None:
    assert sorted(re.findall(NUMBER, FOUND)) == sorted(map(difference, SAID))


@pytest.mark.parametrize("said", [said for said in SAID if said.verdict], ids=lambda said: f"{said.study}-{said.one}-{said.other}")
def test_a_verdict_is_the_published_one(said: Said) -> None:
    """Which tests of the published verdicts hold to the results; estimates are called so, and others not."""
    published: dict[str, list[list[Any]]] = read_yaml(ROOT / "tests" / "analysis" / "published_verdicts.yaml")
    given = set()
    for family, one, other, word, size, _, mean, _ in published[said.study]:
        if f"{100 * abs(mean):.1f}" == difference(said).split()[0].lstrip("+-") and {one, other} == {said.one, said.other}:
            assert said.metric in family or "exact" not in family
            given.add(", ".join(filter(None, (word if one == said.one else TURNED.get(word, word), size))))
    assert given == {said.verdict}
    row = next(line for line in rows(said.study).splitlines() if difference(said) in line)
    assert ("Estimate" in row) == (said.verdict == "not testable")
    if "inconclusive" in said.verdict or "equivalent" in said.verdict:
        assert said.verdict in row


@pytest.mark.parametrize(("study", "texts", "pattern"), QUOTED)
def test_what_is_quoted_stands_in_the_report(study: str, texts: tuple[str, ...], pattern: str) -> None:
    assert all(text in rows(study) for text in texts)
    assert re.search(pattern, (RESULTS / study / "report.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_of_arms_is_what_the_published_cells_give() -> None:
    """Reading with its half-width, cut, sham, intact, seam gap and coarse in percent and points, FLOPs, milliseconds, MiB."""
    lines = [[cell.strip() for cell in line.strip("│\n").split("│")] for line in README.splitlines() if line.startswith("│")]
    table = analysis.arms_table(RESULTS / "fusion_methods")
    shares = [ALL, f"{ALL} half", CUT, SHAM, INTACT, "seam_gap/reading", "exact/coarse"]
    given = []
    for row in table.to_dict("records"):
        costs = (f"{row['flops'] / 1e6:.3g} M", f"{row['latency_ms']:.1f}", f"{row['peak_memory_mib']:.0f}")
        given.append([*(f"{100 * row[name]:.1f}" for name in shares), *costs])
    assert [[*line[2].split(" ± "), *line[3:]] for line in lines] == given
    assert [int(line[1]) for line in lines] == [int(frame("fusion_methods").groupby("arm").size().loc[arm]) for arm in table["arm"]]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 160
