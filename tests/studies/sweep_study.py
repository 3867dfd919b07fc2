"""The thin study's sweep, for tests: over fusions, depth and rate, by what a cell validates and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from thin_study import STUDY, Bench

SPACE: dict[str, Any] = {
    "fusion.name": ["none", "concat", "addition"],
    "fusion.depth": {"if": {"fusion.name": ["concat", "addition"]}, "choices": ["last", "multi", [[3, 2], [4, 4]]]},
    "geometry.detail_cells": {"low": 2, "high": 4, "step": 1},
    "train.weight_decay": {"low": 0.0, "high": 0.1},
}


def sweep_study(**sweep: Any) -> str:
    """The text of a study file whose budget `swept` sweeps, and confirms on two seeds."""
    content = yaml.safe_load(STUDY)
    plain = {
        "space": SPACE,
        "objectives": ["exact/reading", "flops"],
        "trials": 10,
        "batch": 3,
        "sampler": "nsga2",
        "run_seeds": [1000],
        "confirm": {"seeds": 2},
    }
    content |= {"sweep": {**plain, **sweep}}
    content["budgets"]["swept"] = {"seeds": [0, 1, 2], "sweep": True}
    return yaml.safe_dump(content, sort_keys=False)


def write(bench: Bench, **sweep: Any) -> Bench:
    """The bench with that study."""
    bench.file.write_text(sweep_study(**sweep), encoding="utf-8")
    return bench


def found(out: Path) -> dict[str, Any]:
    """What a sweep has written."""
    return dict(json.loads((out / "sweep" / "trials.json").read_text(encoding="utf-8")))
