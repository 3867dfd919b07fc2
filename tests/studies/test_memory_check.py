"""A plan whose cells cannot fit in memory is refused, with the part that eats it; `--force` makes it a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, load_study
from fila_lab.studies import estimate
from fila_lab.studies.plan import Plan, make_plan

STUDY = Path(__file__).parents[2] / "experiments" / "fusion_methods.yaml"
GIB = 2**30


def plan(**overrides: Any) -> Plan:
    return make_plan(load_study(STUDY), "small", overrides)


def test_a_cell_that_cannot_fit_is_refused_by_the_part_that_eats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "usable_memory", lambda accelerator: 4 * GIB)
    wide = plan(**{"geometry.detail_cells": 60})
    with pytest.raises(ConfigError, match=r"arm 'concat': .* the ConvNeXt alone takes .* lower geometry.detail_cells \(now 60\).*--force"):
        estimate.check_memory_of(wide, 1)
    warned = estimate.check_memory_of(wide, 1, force=True)
    assert [message.split(":")[0] for message in warned] == ["arm 'concat'", "arm 'addition'", "arm 'cross_attention'"]


def test_a_batch_that_cannot_fit_is_told_the_passes_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "usable_memory", lambda accelerator: 4 * GIB)
    with pytest.raises(ConfigError, match=r"with the same steps it fits by --set train\.batch_size=\d+ --set train\.accumulate=\d+"):
        estimate.check_memory_of(plan(**{"train.batch_size": 2000}), 1)


def test_too_many_workers_are_told_how_many_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "usable_memory", lambda accelerator: 2 * GIB)
    assert estimate.check_memory_of(plan(), 2) == []
    with pytest.raises(ConfigError, match=r"3 workers need about .* use --workers 2"):
        estimate.check_memory_of(plan(), 3)


def test_a_trial_of_a_sweep_that_cannot_fit_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "usable_memory", lambda accelerator: 4 * GIB)
    study = load_study(STUDY.with_name("accuracy_cost.yaml"))
    assert study.sweep is not None
    space = {**study.sweep.space, "geometry.detail_cells": [4, 60]}
    wide = study.model_copy(update={"sweep": study.sweep.model_copy(update={"space": space})})
    with pytest.raises(ConfigError, match=r"a trial of the sweep: .* lower geometry.detail_cells \(now 60\).*--force"):
        estimate.check_memory_of(make_plan(wide, "full"), 1)


def test_a_gpu_that_nobody_knows_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate.shutil, "which", lambda name: None)
    assert estimate.usable_memory("gpu") is None
    assert estimate.check_memory_of(plan(**{"runtime.accelerator": "gpu", "train.batch_size": 2000}), 1) == []


def test_the_machine_has_memory() -> None:
    usable = estimate.usable_memory("cpu")
    assert usable is not None
    assert usable > GIB / 4
