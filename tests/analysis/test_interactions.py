"""Interactions (A - B) - (C - D): judged like contrasts, paired by seed, counted in their family, shown under their own name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from rich.console import Console

from fila_lab import analysis
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.plots import contrasts_plot
from fila_lab.analysis.tables import all_tables
from fila_lab.config.study import Family, StudyConfig
from fila_lab.studies.plan import study_hash

FOUR = ("a", "b", "c", "d")


def judged(values: dict[str, list[float]], family: Family, margin: float = 0.02) -> pd.DataFrame:
    rows = [{"arm": arm, "seed": seed, "exact/reading": v, "n/reading": 500} for arm, own in values.items() for seed, v in enumerate(own)]
    return analysis.judge(pd.DataFrame(rows), {"factors": family}, "exact/reading", margin)


def test_a_case_by_hand() -> None:
    """Differences of differences .10, .12, .14: mean .12, sd .02, t(2) = 4.303, so half = 4.303 * .02 / sqrt 3 = .04968; p = 2/8."""
    values = {"a": [0.80, 0.82, 0.84], "b": [0.60, 0.60, 0.60], "c": [0.50, 0.51, 0.52], "d": [0.40, 0.41, 0.42]}
    row = judged(values, Family(interactions=(FOUR,))).iloc[0]
    assert (row["a"], row["b"], row["n"]) == ("(a − b)", "(c − d)", 3)
    assert (row["mean_a"], row["mean_b"], row["difference"]) == pytest.approx((0.22, 0.10, 0.12))
    assert (row["low"], row["high"]) == pytest.approx((0.12 - 0.04968, 0.12 + 0.04968), abs=1e-4)
    assert row["p"] == 0.25
    assert row["p_greater"] == 1
    assert row["verdict"] == "not testable"
    assert row["reason"].startswith("3 seeds cannot reach")


def test_it_is_the_contrast_of_the_two_differences() -> None:
    """Every statistic equals that of a contrast between arms whose values are A - B and C - D."""
    rng = np.random.default_rng(0)
    values = {arm: rng.normal(0.6, 0.02, 8) for arm in FOUR}
    values["a"] += 0.1
    found = judged({arm: list(own) for arm, own in values.items()}, Family(interactions=(FOUR,))).iloc[0]
    two = {"x": list(values["a"] - values["b"]), "y": list(values["c"] - values["d"])}
    plain = judged(two, Family(contrasts=(("x", "y"),))).iloc[0]
    assert found["verdict"] == plain["verdict"] == "better"
    for name in ("n", "mean_a", "mean_b", "difference", "low", "high", "p", "p_holm", "p_greater", "p_tost", "sd", "mde"):
        assert found[name] == pytest.approx(plain[name])


def test_it_counts_in_the_family() -> None:
    rng = np.random.default_rng(1)
    values = {arm: list(rng.normal(0.6, 0.02, 8)) for arm in FOUR}
    family = Family(contrasts=(("a", "b"), ("c", "d")), interactions=(FOUR,))
    found = judged(values, family)
    assert found["contrasts"].tolist() == [3, 3, 3]
    assert found["p_holm"].tolist() == pytest.approx(analysis.holm(found["p"].tolist(), 3))
    del values["d"]
    assert judged(values, family)[["a", "b", "contrasts"]].values.tolist() == [["a", "b", 3]]


def test_only_seeds_that_all_four_finished_are_paired_and_extremes_are_flagged() -> None:
    values = {"a": [0.97] * 4, "b": [0.95] * 4, "c": [0.5] * 3, "d": [0.4] * 4}
    row = judged(values, Family(interactions=(FOUR,))).iloc[0]
    assert row["n"] == 3
    assert row["flag"] == "a above 90%; b above 90%"
    logits = [np.log(p / (1 - p)) for p in (0.97, 0.95, 0.5, 0.4)]
    assert row["logit_difference"] == pytest.approx(logits[0] - logits[1] - (logits[2] - logits[3]))


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ({}, "families.f.contrasts and interactions are both empty"),
        ({"interactions": [["none", "concat", "none", "foreign"]]}, "families.f.interactions: .* repeats an arm"),
        ({"interactions": [["none", "concat", "addition", "foregn"]]}, "families.f.interactions: unknown arm 'foregn'"),
    ],
)
def test_what_cannot_be_asked_is_refused(family: dict[str, Any], words: str, tmp_path: Path) -> None:
    import yaml

    from fila_lab.config import ConfigError, load_study

    declared = synthetic.study_config(["none"]).model_dump(mode="json") | {"families": {"f": family}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_study(tmp_path / "study.yaml")


def test_a_study_without_interactions_keeps_its_hash_and_one_with_them_gets_another() -> None:
    plain = synthetic.study_config(["none"])
    declared = plain.model_dump(mode="json")
    for family in declared["families"].values():
        del family["interactions"]
    assert study_hash(StudyConfig.model_validate(declared)) == study_hash(plain)
    declared["families"]["methods"]["interactions"] = [["none", "concat", "addition", "foreign"]]
    assert study_hash(StudyConfig.model_validate(declared)) != study_hash(plain)


def test_tables_terminal_and_plot_show_it_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = ("none", "concat", "addition", "cross_attention")
    families = {"factors": {"contrasts": [["concat", "none"]], "interactions": [["concat", "none", "cross_attention", "addition"]]}}
    monkeypatch.setattr(synthetic, "FAMILIES", families)
    out = synthetic.write_study(tmp_path / "study", arms=arms, triplets=24, tuning=False)
    findings = Findings.of(out)
    name = "(concat − none) − (cross_attention − addition)"
    tables = all_tables(findings)
    for table in ("verdicts", "secondary"):
        assert tables[table].shown["A − B"].tolist() == ["concat − none", name]
    wide = findings.frame.pivot(index="seed", columns="arm", values="exact/reading/cut")
    secondary = tables["secondary"].data.set_index(["a", "metric"])["difference"]
    expected = (wide["concat"] - wide["none"] - wide["cross_attention"] + wide["addition"]).mean()
    assert secondary["(concat − none)", "exact/reading/cut"] == pytest.approx(expected)
    text = io.StringIO()
    Console(file=text, width=160).print(analysis.terminal_summary(findings))
    assert name in text.getvalue()
    assert any(label.get_text() == name for label in contrasts_plot(findings).axes[0].get_yticklabels())
