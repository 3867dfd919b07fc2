"""What one run is: every field that can change a result of a cell, as strict pydantic models; each part's fields in its own file.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from fila_lab.config.base import Seed, Strict
from fila_lab.config.data import DataConfig
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.language import LanguageConfig
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.runtime import RuntimeConfig
from fila_lab.config.stages import with_trainable
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.train import TrainConfig


class RunConfig(Strict):
    """One cell's configuration: with the hashes of data and weights, its result is a pure function of this."""

    preset: str = Field(description="name of the preset this run resolves from")
    seed: Seed = Field(default=0, description="of everything that is drawn: weights, order of items, dropout; cells have the study's seeds")
    geometry: GeometryConfig
    vit: VitConfig
    convnext: ConvNextConfig
    fusion: FusionConfig
    projector: ProjectorConfig = ProjectorConfig()
    language: LanguageConfig = LanguageConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="before")
    @classmethod
    def _stages_say_what_trains(cls, content: Any) -> Any:
        """With training stages, `trainable` of a tower says whether any of them trains it."""
        return with_trainable(content) if isinstance(content, Mapping) else content


NO_MATTER: dict[str, set[str]] = {"data": {"workers"}, "runtime": {"checkpoint_minutes", "checkpoints_kept"}}
"""Fields that cannot change a result: no part of a cell's id."""
