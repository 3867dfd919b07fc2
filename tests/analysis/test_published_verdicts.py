"""What the committed studies say stays what they said, whatever names their files were written with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.analysis.findings import Findings
from fila_lab.config.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
SAID: dict[str, list[list[Any]]] = read_yaml(Path(__file__).parent / "published_verdicts.yaml")
WORDS = ["family", "a", "b", "verdict", "size", "mark"]
NUMBERS = ["difference", "p_holm"]
QUICK = ("calibration", "families", "fusion_matched_small", "remove_fusion")


def test_every_committed_study_is_held() -> None:
    assert set(SAID) == {path.parent.name for path in (ROOT / "experiments" / "results").glob("*/plan.json")}


@pytest.mark.parametrize("study", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SAID])
def test_a_published_verdict_stays(study: str) -> None:
    verdicts = Findings.of(ROOT / "experiments" / "results" / study).verdicts
    assert verdicts[WORDS].to_numpy().tolist() == [line[: len(WORDS)] for line in SAID[study]]
    for name, then in zip(NUMBERS, zip(*(line[len(WORDS) :] for line in SAID[study]), strict=True), strict=True):
        assert verdicts[name].tolist() == pytest.approx([float("nan") if value is None else value for value in then], nan_ok=True, abs=1e-9)
