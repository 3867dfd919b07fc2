"""Writes a study folder with simulated results in the layout of a real one, for the tests of analysis and of the notebook."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.renamed import SCHEMA
from fila_lab.config.run import RunConfig
from fila_lab.config.study import StudyConfig
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.train import TrainConfig

PLACES = ("cut", "sham", "intact")
ACCURACY: dict[str, tuple[float, float, float]] = {
    "none": (0.45, 0.62, 0.70),
    "concat": (0.80, 0.84, 0.87),
    "addition": (0.72, 0.78, 0.82),
    "cross_attention": (0.80, 0.84, 0.87),
    "foreign": (0.44, 0.61, 0.69),
    "oracle_map": (0.97, 0.98, 0.98),
}
"""Simulated reading accuracy per arm at the cut, sham and intact place."""
ROLES = {"none": "baseline", "foreign": "control", "oracle_map": "control"}
FAMILIES = {
    "methods": {
        "contrasts": [["concat", "none"], ["addition", "none"], ["cross_attention", "none"], ["concat", "cross_attention"]],
        "by": ["place"],
    },
    "controls": {"contrasts": [["foreign", "none"], ["oracle_map", "none"]]},
}


def study_config(arms: Sequence[str], name: str = "fusion_methods") -> StudyConfig:
    known = {arm: {"role": ROLES.get(arm, "fusion"), "set": {"fusion.name": arm}} for arm in ACCURACY}
    return StudyConfig.model_validate(
        {
            "name": name,
            "question": "Which fusion reads codes that a seam cuts, and at what cost?",
            "arms": known,
            "families": FAMILIES,
            "margin": 0.03,
            "budgets": {"small": {"seeds": [0, 1, 2], "arms": ["none", "concat"]}, "full": {"seeds": list(range(8)), "tune": True}},
            "tuning": {"space": {"train.learning_rate": [3e-4, 1e-2]}, "trials": 4},
            "winners": {arm: {"train.learning_rate": 2e-3} for arm in arms},
        }
    )


def run_config(arm: str, seed: int, learning_rate: float = 2e-3) -> dict[str, Any]:
    config = RunConfig(
        preset="mini",
        seed=seed,
        geometry=GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3),
        vit=VitConfig(width=64, layers=6, heads=4),
        convnext=ConvNextConfig(depths=(1, 1, 3, 1), dims=(24, 48, 72, 96)),
        fusion=FusionConfig.model_validate({"name": "concat", "control": arm} if ROLES.get(arm) == "control" else {"name": arm}),
        train=TrainConfig(learning_rate=learning_rate),
    )
    return config.model_dump(mode="json")


def write_study(
    out: Path,
    *,
    arms: Sequence[str] = tuple(ACCURACY),
    seeds: Sequence[int] = tuple(range(8)),
    triplets: int = 60,
    tuning: bool = True,
    gallery: bool = False,
    failed: Mapping[tuple[str, int], str] | None = None,
    budget: str = "full",
    accuracy: Mapping[str, tuple[float, float, float]] = ACCURACY,
) -> Path:
    """Simulated results: item difficulty and seed effects are shared across arms, so that contrasts are paired as in a real study."""
    out.mkdir(parents=True, exist_ok=True)
    study = study_config(arms)
    cells = []
    for arm in arms:
        for seed in seeds:
            cells.append(
                {"id": f"{arm}-{seed:04d}", "arm": arm, "seed": seed, "phase": "main", "trial": None, "config": run_config(arm, seed)}
            )
        for trial, rate in enumerate((5e-4, 1e-3, 2e-3, 9.5e-3) if tuning else ()):
            config = run_config(arm, 1000, rate)
            cells.append({"id": f"{arm}-t{trial}", "arm": arm, "seed": 1000, "phase": "tuning", "trial": trial, "config": config})
    for cell in cells:
        _write_cell(out / "cells" / cell["id"], cell, triplets, accuracy[cell["arm"]], (failed or {}).get((cell["arm"], cell["seed"])))
    plan = {"study": study.model_dump(mode="json"), "study_hash": "0123456789abcdef", "budget": budget, "cells": cells}
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    costs = {
        arm: {
            "parameters": 1_000_000 + 40_000 * i,
            "trainable_parameters": 400_000 + 40_000 * i,
            "fusion_parameters": 40_000 * i,
            "flops": 2.1e8 * (1 + 0.22 * i),
            "latency_ms": 8.0 + 2.1 * i,
            "latency_iqr_ms": 0.6,
            "peak_memory_mib": 310.0 + 12 * i,
        }
        for i, arm in enumerate(arms)
    }
    (out / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
    if gallery:
        _write_gallery(out / "gallery")
    return out


def _write_cell(folder: Path, cell: dict[str, Any], triplets: int, accuracy: tuple[float, float, float], failure: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([cell["seed"], len(cell["arm"]), cell["trial"] or 0, *cell["arm"].encode()])
    result: dict[str, Any] = {"schema": SCHEMA, "id": cell["id"], "status": "done", "config": cell["config"], "failure": None}
    if failure:
        result |= {"status": "failed", "metrics": {}, "validation": {}, "curve": [], "timing": {"total": 3.0}}
        result["failure"] = {"kind": failure, "message": f"simulated {failure} at step 17", "traceback": ""}
    else:
        rate = cell["config"]["train"]["learning_rate"]
        quality = sum(accuracy) / 3 - 0.1 * math.log(rate / 2e-3) ** 2 + rng.normal(0, 0.004)
        frame = predictions(cell["seed"], triplets, accuracy, rng)
        if cell["phase"] == "main":  # tuning cells never read the test pool
            frame.to_parquet(folder / "predictions.parquet")
        steps = range(50, 1001, 50)
        loss = [
            {"step": s, "loss": 3 * math.exp(-s / 300) + 1.3 - sum(accuracy) / 3 + rng.normal(0, 0.03), "learning_rate": rate}
            for s in steps
        ]
        curve = [
            point | {"validation": quality * (1 - math.exp(-point["step"] / 300)) if point["step"] % 250 == 0 else None} for point in loss
        ]
        timing = {"total": 61.0, "data": 5.0, "features": 3.0, "train": 45.0, "evaluate": 8.0, "images_per_second": 480.0}
        result |= {
            "metrics": metrics(frame) if cell["phase"] == "main" else {},
            "validation": {"exact/reading": quality},
            "curve": curve,
            "timing": timing,
        }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    manifest = {
        "code_hash": "c0de" * 4,
        "data_hash": {"train": "da7a" * 4, "test": "7e57" * 4},
        "weights": {"vit": "a" * 64, "convnext": "b" * 64},
        "versions": {"python": "3.11.0", "torch": "2.9.0"},
        "machine": {"cpu": "simulated", "cores": 2},
        "started": "2025-01-01T00:00:00",
        "finished": "2025-01-01T00:01:00",
        "host": "simulated",
        "engine": "process",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def predictions(seed: int, triplets: int, accuracy: tuple[float, float, float], rng: np.random.Generator) -> pd.DataFrame:
    difficulty = np.random.default_rng(7).normal(0, 0.08, triplets)
    shared = np.random.default_rng([seed, 3])
    shift = shared.normal(0, 0.01)
    rows = []
    for i in range(triplets):
        task = "coarse" if i % 6 == 5 else "reading"
        for place, level in zip(PLACES, accuracy, strict=True):
            chance = min(max((level if task == "reading" else 0.88) + difficulty[i] + shift, 0), 1)
            # Most draws are common to all arms of a seed, as two readers of one page mostly agree on what is hard.
            common, own = shared.random(), rng.random()
            correct = bool((common if rng.random() < 0.8 else own) < chance)
            answer = f"A{i:02d}"
            rows.append(
                {
                    "item_id": f"test-{i:04d}",
                    "task": task,
                    "place": place,
                    "question": f"code in red {i}?",
                    "answer": answer,
                    "prediction": answer if correct else answer[::-1],
                    "correct": correct,
                    "image_id": f"page-{i // 2:03d}",
                    "cut_fraction": 0.4 if place == "cut" else 0.0,
                    "axis": "x",
                    "addressing": "colour",
                    "length": 3,
                    "canvas": "84x84",
                }
            )
    return pd.DataFrame(rows)


def metrics(frame: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {}
    for task, own in frame.groupby("task"):
        wide = own.pivot(index="item_id", columns="place", values="correct").astype(bool)
        found |= {f"exact/{task}/{place}": float(wide[place].mean()) for place in PLACES}
        found[f"exact/{task}"] = float(own["correct"].mean())
        found[f"seam_gap/{task}"] = float(wide["sham"].mean() - wide["cut"].mean())
        found[f"sham_gap/{task}"] = float(wide["intact"].mean() - wide["sham"].mean())
        found[f"fragmentation/{task}"] = float((wide["sham"] & ~wide["cut"]).mean())
        found[f"fragmentation_reverse/{task}"] = float((wide["cut"] & ~wide["sham"]).mean())
        found[f"n/{task}"] = float(own["item_id"].nunique())
    found["exact/mean"] = (found["exact/reading"] + found["exact/coarse"]) / 2
    return found


def _write_gallery(folder: Path) -> None:
    folder.mkdir()
    entries = []
    for i in range(8):
        images = {}
        for place, x in zip(PLACES, (72, 58, 20), strict=True):
            picture = Image.new("RGB", (168, 168), (236, 232, 224))
            draw = ImageDraw.Draw(picture)
            draw.line((84, 0, 84, 168), fill=(180, 180, 180))
            draw.text((x, 70), f"A{i:02d}", fill=(200, 30, 30))
            images[place] = f"{i}-{place}.png"
            picture.save(folder / images[place])
        entries.append(
            {"item_id": f"test-{i:04d}", "question": f"code in red {i}?", "answer": f"A{i:02d}", "cut_fraction": 0.4, "images": images}
        )
    (folder / "gallery.json").write_text(json.dumps(entries), encoding="utf-8")
