"""Measured costs of trials: kept and replayed; what is damaged is measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import RunConfig, load_preset
from fila_lab.studies.costs import cost_identity
from fila_lab.studies.searches.trial_costs import TrialCosts


@pytest.mark.parametrize("damage", ["fast", [3], True, {"ms": 3}, None])
def test_costs_that_are_no_numbers_are_measured_again(tmp_path: Path, damage: Any) -> None:
    config, measured = load_preset("mini"), []

    def measure(configs: dict[str, RunConfig], *_: Any) -> dict[str, Any]:
        measured.append(configs)
        return {arm: {"latency_ms": 4.0} for arm in configs}

    kept = {cost_identity(config): {"machine": "", "code_hash": "", "costs": {"latency_ms": damage} if damage is not None else None}}
    (tmp_path / "costs.json").write_text(json.dumps(kept), encoding="utf-8")
    assert TrialCosts(tmp_path, "code", measure).of(config, "latency") == 4.0
    assert TrialCosts(tmp_path, "code", measure).of(config, "latency") == 4.0
    assert len(measured) == 1, "and kept"
