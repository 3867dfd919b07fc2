"""A fusion's parameters with nothing to look at, as a second baseline: controls are weighed against it, and it against none."""

from __future__ import annotations

import json

import pytest
from synthetic import write_study

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.signature_rules import gaining_controls
from fila_lab.analysis.tables import all_tables
from fila_lab.config import ConfigError, StudyConfig
from fila_lab.studies.plan import make_plan

ACCURACY = {"none": 0.50, "concat": 0.80, "addition": 0.60, "foreign": 0.60}  # `addition` is made the second baseline


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    out = tmp_path_factory.mktemp("capacity") / "study"
    write_study(out, arms=tuple(ACCURACY), triplets=120, tuning=False, accuracy={arm: (mean,) * 3 for arm, mean in ACCURACY.items()})
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    plan["study"]["arms"]["addition"] |= {
        "role": "capacity",
        "label": "capacity",
        "set": {"fusion.name": "concat", "fusion.control": "blank"},
    }
    for cell in plan["cells"]:
        if cell["arm"] == "addition":
            cell["config"]["fusion"] |= {"name": "concat", "control": "blank"}
            path = out / "cells" / cell["id"] / "result.json"
            result = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(result | {"config": cell["config"]}), encoding="utf-8")
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return Findings.of(out)


def test_controls_are_weighed_against_it_and_it_against_none(findings: Findings) -> None:
    signs = {sign.where: sign for sign in gaining_controls(findings).signs}
    assert list(signs) == ["addition"], "another page's map gains no more than the parameters do"
    assert "over none" in signs["addition"].numbers
    assert "of what concat gains" in signs["addition"].numbers
    assert signs["addition"].meaning == "this much needs nothing of any page: it is capacity"


def test_tables_call_it_so(findings: Findings) -> None:
    assert "capacity (second baseline)" in all_tables(findings)["arms"].shown["arm"].tolist()


def test_the_role_is_that_of_a_fusion_with_nothing_to_look_at() -> None:
    content = {
        "name": "capacity",
        "question": "is it the parameters?",
        "set": {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"},
        "arms": {
            "none": {"role": "baseline", "set": {"fusion.name": "none"}},
            "capacity": {"role": "capacity", "set": {"fusion.name": "concat", "fusion.control": "blank"}},
            "concat": {"set": {"fusion.name": "concat"}},
        },
        "families": {"methods": {"contrasts": [["concat", "capacity"], ["capacity", "none"]]}},
        "margin": 0.02,
        "budgets": {"small": {"seeds": [0]}},
    }
    assert len(make_plan(StudyConfig.model_validate(content)).cells) == 3
    content["arms"]["capacity"]["set"]["fusion.control"] = "constant"  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"arms\.capacity\.role = 'capacity'.*set fusion\.control=blank"):
        make_plan(StudyConfig.model_validate(content))
