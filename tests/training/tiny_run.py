"""A run small enough for tests: the real classes, random towers, a few dozen items."""

from __future__ import annotations

from typing import Any

from fila_lab.config import RunConfig, resolve_run

TINY: dict[str, Any] = {
    "vit.weights": "random",
    "convnext.weights": "random",
    "language.weights": "random",
    "vit.width": 32,
    "vit.layers": 6,
    "vit.heads": 4,
    "convnext.dims": [8, 8, 16, 16],
    "language.tokenizer": "characters",
    "language.width": 32,
    "language.layers": 3,
    "language.intermediate": 64,
    "language.answer_tokens": 4,
    "data.seam.tasks": {"reading": 0.85, "coarse": 0.15},
    "data.train_pool": 48,
    "data.train_items": 40,
    "data.val_pool": 16,
    "data.val_items": 12,
    "data.test_triplets": 8,
    "train.steps": 6,
    "train.learning_rate": 1e-3,
    "train.batch_size": 8,
    "train.log_every": 2,
    "train.validate_every": 3,
}


def tiny(**overrides: Any) -> RunConfig:
    """A tiny run; keywords are dotted paths with `__` for the dot."""
    return resolve_run("mini", TINY, {key.replace("__", "."): value for key, value in overrides.items()})
