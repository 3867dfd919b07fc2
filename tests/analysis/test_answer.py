"""The two sentences that answer a study's question follow from its verdicts and its arms' roles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from synthetic import write_study

from fila_lab.analysis.answer import MOST, answer_of, control_families, control_rows
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.subgroups import Subgroups


@pytest.fixture
def findings(full_findings: Findings) -> Findings:
    return full_findings


def judged(findings: Findings, verdicts: pd.DataFrame, subgroups: Subgroups | None = None) -> Findings:
    """The same study with other verdicts."""
    made = dataclasses.replace(findings)
    vars(made).update({"verdicts": verdicts, "subgroups": subgroups or Subgroups.of(None, {}, findings.metric)})
    return made


def test_controls_are_told_apart_by_their_roles(findings: Findings) -> None:
    assert control_families(findings) == ["controls"]
    rows = findings.verdicts[control_rows(findings)]
    assert sorted(rows["a"]) == ["foreign", "oracle_map"]
    first, second = answer_of(findings)
    assert "concat (" in first
    assert "foreign" not in first
    assert second.startswith("Controls: ")
    assert "oracle_map" in second
    assert "concat" not in second


def test_every_verdict_has_its_clause(findings: Findings) -> None:
    table = findings.verdicts.copy()
    words = ["better", "worse", "equivalent", "inconclusive", "not comparable", "better"]
    table["verdict"], table["size"] = words, ["beyond the margin", "size open", "", "", "", "within the margin"]
    table["mark"], table["a"], table["b"] = (
        ["", "", "this pool only", "", "", ""],
        table["a"],
        ["none"] * 3 + ["cross_attention"] + ["none"] * 2,
    )
    table[["difference", "low", "high"]] = [0.1, 0.05, 0.15]
    first, second = answer_of(judged(findings, table))
    assert first == (
        "On exact/reading, in points, beyond the margin of 3.0 unless said: concat is better than none (+10.0 [+5.0, +15.0]); "
        "addition is worse than none (+10.0 [+5.0, +15.0]; size open); "
        "cross_attention is equivalent to none (+10.0 [+5.0, +15.0]; this pool only); "
        "concat is inconclusive against cross_attention (+10.0 [+5.0, +15.0])."
    )
    assert second == (
        "Controls: oracle_map is better than none (+10.0 [+5.0, +15.0]; within the margin); "
        "foreign is not comparable with none (+10.0 [+5.0, +15.0])."
    )


def test_arms_with_one_rival_are_listed_and_many_are_counted(findings: Findings) -> None:
    one = findings.verdicts.iloc[[0]]
    table = pd.concat(
        [one.assign(verdict="better", size="beyond the margin", metric=f"exact/task{n}") for n in range(MOST + 4)], ignore_index=True
    )
    (sentence,) = answer_of(judged(findings, table))
    assert sentence.count("task") == MOST
    assert "and 4 more." in sentence
    assert sentence.count("concat is better than none in") == 1


def test_reversals_are_said_with_both_levels(findings: Findings) -> None:
    contrast = {"family": "methods", "metric": findings.metric, "by": "place", "a": "concat", "b": "none"}
    effect = contrast | {"reversal": True, "mark": "", "p_reversal_holm": 0.01, "up": "cut", "down": "intact"}
    levels = [
        contrast | {"level": level, "difference": d, "low": d, "high": d, "flag": ""} for level, d in (("cut", 0.05), ("intact", -0.018))
    ]
    split = Subgroups(pd.DataFrame(levels), pd.DataFrame([effect]))
    first, *_ = answer_of(judged(findings, findings.verdicts, split))
    assert first.endswith("; but which is ahead depends on the items, for concat − none by place (cut +5.0, intact −1.8).")


def test_too_few_seeds_give_estimates_and_say_why(small_study: Path) -> None:
    (sentence,) = answer_of(Findings.of(small_study))
    assert "concat is not judged against none (" in sentence
    assert "no verdict can be given, as 3 seeds cannot reach p < 0.05 over 4 contrasts; 8 seeds are needed" in sentence


def test_a_study_of_controls_alone_is_answered_by_them(tmp_path: Path) -> None:
    findings = Findings.of(write_study(tmp_path / "out", arms=("none", "foreign"), triplets=12, tuning=False))
    (sentence,) = answer_of(findings)
    assert sentence.startswith("On exact/reading")
    assert "foreign" in sentence
