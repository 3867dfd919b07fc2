"""How the trainable parts are optimised."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from fila_lab.config.base import Number, Positive, Strict, dumped
from fila_lab.config.stages import Schedule, StageConfig


class TrainConfig(Strict):
    """Optimisation of the trainable parts; of training stages, what they do not say themselves."""

    steps: Positive = Field(default=1000, description="optimiser steps")
    batch_size: Positive = Field(default=64, description="rows of one forward pass")
    accumulate: Positive = Field(default=1, description="forward passes of batch_size rows that make one step")
    learning_rate: Number = Field(default=2e-3, gt=0, description="the highest, at the end of the warm-up; of AdamW")
    weight_decay: Number = Field(default=0.01, ge=0, description="of matrices: norms and biases have none")
    warmup: Number = Field(default=0.1, ge=0, lt=1, description="share of steps over which the learning rate rises from zero")
    schedule: Schedule = Field(default="cosine", description="the learning rate after the warm-up: cosine and linear end at zero")
    gradient_clip: Number = Field(default=1.0, gt=0, description="greatest norm of a step's gradient")
    log_every: Positive = Field(default=50, description="steps from one point of the training curve to the next")
    validate_every: Positive = Field(default=250, description="steps from one validation to the next")
    eval_batch_size: Positive = Field(default=256, description="rows of one forward pass in validation and test")
    truth_weight: Number = Field(
        default=0.0, ge=0, description="weight of a second loss: projected tokens against the answer model's embedding of their truth"
    )
    stages: tuple[StageConfig, ...] | None = Field(
        default=None, min_length=1, description="training stages, one after another; null: a single one, of all that is trainable"
    )

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`accumulate`, `schedule` and `stages` only where they say something."""
        return dumped(self, dump, info, ("accumulate", "schedule", "stages"))
