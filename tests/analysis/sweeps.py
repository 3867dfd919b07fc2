"""Writes the result folder of a simulated sweep: trials, the arms made of its front, their cells and costs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import metrics, predictions, run_config

from fila_lab.analysis.front import non_dominated
from fila_lab.config.renamed import SCHEMA
from fila_lab.config.run import RunConfig
from fila_lab.config.study import StudyConfig
from fila_lab.cost.closed.matching import amount

METRIC = "exact/reading"
SPACE: dict[str, Any] = {
    "fusion.name": ["none", "concat", "addition", "cross_attention"],
    "fusion.heads": {"if": {"fusion.name": "cross_attention"}, "choices": [1, 2, 4]},
    "geometry.detail_cells": {"low": 2, "high": 6},
    "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
GAIN = {"none": 0.0, "concat": 0.16, "addition": 0.11, "cross_attention": 0.15}
KINDS = {METRIC: "metric", "flops": "cost", "latency": "cost", "parameters": "cost"}
STATES = {5: "impossible", 11: "failed", 17: "pruned"}
"""Trials that come to nothing, by number; of one objective only are some pruned."""
REASONS = {"impossible": "geometry.detail_cells = 5: does not fit", "failed": "the loss is NaN", "pruned": "stopped at step 200"}


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """A trial's parameters."""
    own: dict[str, Any] = {"fusion.name": SPACE["fusion.name"][rng.integers(4)]}
    if own["fusion.name"] == "cross_attention":
        own["fusion.heads"] = (1, 2, 4)[rng.integers(3)]
    return own | {"geometry.detail_cells": int(rng.integers(2, 7)), "train.learning_rate": float(10 ** rng.uniform(-4, -2))}


def config_of(parameters: dict[str, Any], seed: int) -> dict[str, Any]:
    config = run_config(parameters["fusion.name"], seed, parameters["train.learning_rate"])
    config["geometry"]["detail_cells"] = parameters["geometry.detail_cells"]
    return config


def quality(parameters: dict[str, Any]) -> float:
    """What a trial is worth on average."""
    fused = parameters["fusion.name"] != "none"
    rate = math.log10(parameters["train.learning_rate"] / 2e-3)
    return 0.58 + GAIN[parameters["fusion.name"]] + 0.02 * fused * (parameters["geometry.detail_cells"] - 2) - 0.06 * rate**2


def cost(parameters: dict[str, Any], name: str) -> float:
    flops = amount(RunConfig.model_validate(config_of(parameters, 0)), "parameters" if name == "parameters" else "flops")
    return 1.5 + flops / 4e7 if name == "latency" else flops


def write_sweep(
    out: Path,
    *,
    objectives: Sequence[str] = (METRIC, "flops"),
    trials: int = 24,
    done: int | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    families: dict[str, Any] | None = None,
    noise: float = 0.02,
    step_set: dict[str, Any] | None = None,
) -> Path:
    """done: trials that have been told when the sweep is not at its end; then nothing of the main cells has run."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    told: list[dict[str, Any]] = []
    for number in range(trials if done is None else done):
        parameters = draw(rng)
        state = STATES.get(number, "complete")
        if state == "pruned" and len(objectives) > 1:
            state = "complete"
        seen = {METRIC: quality(parameters) + float(rng.normal(0, noise))}
        values = [seen[name] if name in seen else cost(parameters, name) for name in objectives] if state == "complete" else None
        trial: dict[str, Any] = {
            "number": number,
            "batch": number // 4,
            "state": state,
            "reason": REASONS.get(state, ""),
            "parameters": parameters,
        }
        told.append(trial | {"values": values, "intermediate": {}, "cells": [f"sweep-{number}"] if state != "impossible" else []})
    directions = ["maximize" if name == METRIC else "minimize" for name in objectives]
    finished = [trial for trial in told if trial["state"] == "complete"]
    kept: Any = non_dominated([trial["values"] for trial in finished], directions) if finished else []
    front = [trial["number"] for trial, on_front in zip(finished, kept, strict=True) if on_front] if done is None else []
    arms = {f"trial-{number}": number for number in front}
    search = {"arm": "none", "space": SPACE, "objectives": list(objectives), "trials": trials, "batch": 4, "sampler": "nsga2"}
    search |= {"seed": 0, "run_seeds": [1000], "set": step_set or {}, "optuna": "5.0.0"}
    goals = [{"name": name, "direction": direction, "kind": KINDS[name]} for name, direction in zip(objectives, directions, strict=True)]
    content = {"schema": 1, "search": search, "objectives": goals, "trials": told, "complete": done is None, "front": front, "arms": arms}
    (out / "sweep").mkdir(exist_ok=True)
    (out / "sweep" / "trials.json").write_text(json.dumps(content), encoding="utf-8")
    points = {arm: told[number]["parameters"] for arm, number in arms.items()}
    _write_main(out, points, seeds, families or {}, ran=done is None)
    return out


def _write_main(out: Path, points: dict[str, dict[str, Any]], seeds: Sequence[int], families: dict[str, Any], ran: bool) -> None:
    base = {"fusion.name": "none", "geometry.detail_cells": 3, "train.learning_rate": 2e-3}
    declared = {"none": base, "concat": base | {"fusion.name": "concat"}}
    roles = {"none": "baseline", "concat": "fusion"} | dict.fromkeys(points, "front")
    wholes = declared | points
    study = StudyConfig.model_validate(
        {
            "name": "accuracy_cost",
            "question": "What does reading cost: which fusion, at which resolution?",
            "arms": {arm: {"role": roles[arm], "set": own} for arm, own in wholes.items()},
            "families": families,
            "margin": 0.03,
            "budgets": {"full": {"seeds": list(seeds)}},
        }
    )
    cells = []
    for arm, parameters in wholes.items():
        for seed in seeds:
            config = config_of(parameters, seed)
            cells.append({"id": f"{arm}-{seed:04d}", "arm": arm, "seed": seed, "phase": "main", "trial": None, "config": config})
    for cell in cells if ran else ():
        _write_cell(out / "cells" / cell["id"], cell, quality(wholes[cell["arm"]]))
    plan = {"study": study.model_dump(mode="json"), "study_hash": "0123456789abcdef", "budget": "full", "cells": cells}
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    if ran:
        rounds = {arm: [cost(own, "latency") + 0.2 * math.sin(7 * turn + len(arm)) for turn in range(21)] for arm, own in wholes.items()}
        costs = {arm: _costs(own, rounds[arm]) for arm, own in wholes.items()}
        (out / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
        (out / "costs.rounds.json").write_text(json.dumps({"batch_size": 8, "milliseconds_per_image": rounds}), encoding="utf-8")


def _costs(parameters: dict[str, Any], rounds: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(rounds, [25, 50, 75])
    counted = {"parameters": cost(parameters, "parameters"), "flops": 1.25 * cost(parameters, "flops"), "peak_memory_mib": 300.0}
    return counted | {"latency_ms": float(middle), "latency_iqr_ms": float(high - low)}


def _write_cell(folder: Path, cell: dict[str, Any], level: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([cell["seed"], *cell["arm"].encode()])
    frame = predictions(cell["seed"], 18, (level - 0.06, level, level + 0.03), rng)
    frame.to_parquet(folder / "predictions.parquet")
    validation = level + float(np.random.default_rng(cell["seed"]).normal(0, 0.01)) + float(rng.normal(0, 0.01))
    curve = [{"step": step, "loss": 2 - level - step / 1000, "learning_rate": 2e-3, "validation": None} for step in (500, 1000)]
    result = {"schema": SCHEMA, "id": cell["id"], "status": "done", "config": cell["config"], "failure": None, "metrics": metrics(frame)}
    result |= {"validation": {METRIC: validation}, "curve": curve, "timing": {"total": 61.0}}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    manifest = {"code_hash": "c0de", "data_hash": {"test": "7e57"}, "versions": {"torch": "2.9.0"}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
