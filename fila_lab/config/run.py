"""What one run is: every field that can change a result of a cell, as strict pydantic models; each part's fields in its own file.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Seed, Strict, dumped
from fila_lab.config.data import DataConfig
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.language import LanguageConfig
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.runtime import RuntimeConfig
from fila_lab.config.stages import with_trainable
from fila_lab.config.tower_pairs import Pairs, check_pairs, pair_of, pair_weights
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.train import TrainConfig


class RunConfig(Strict):
    """One cell's configuration: with the hashes of data and weights, its result is a pure function of this."""

    preset: str = Field(description="name of the preset this run resolves from")
    seed: Seed = Field(default=0, description="of everything that is drawn: weights, order of items, dropout; cells have the study's seeds")
    geometry: GeometryConfig
    tower_pairs: Pairs = Field(
        default=(), description="blocks of seeds: seed s has the weights of pair s mod their number; empty: all seeds the same"
    )
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

    @model_validator(mode="after")
    def _has_its_pair(self) -> RunConfig:
        """What a run loads is what it says: the weights are those of the seed's pair."""
        try:
            check_pairs(self.tower_pairs)
        except ValueError as error:
            raise ValueError(f"tower_pairs: {error}") from None
        if (pair := self.pair) is not None:
            for room, weights in pair_weights(self.tower_pairs[pair]).items():
                if (said := getattr(self, room).weights) != weights:
                    raise ValueError(
                        f"tower_pairs: seed {self.seed} has pair {pair}, whose {room}.weights is {weights!r}, not {said!r}; leave one out"
                    )
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Records from before there were tower pairs stay as they are."""
        return dumped(self, dump, info, ("tower_pairs",))

    @property
    def pair(self) -> int | None:
        """Number of the tower pair that this run starts from; None where pairs are none."""
        return pair_of(self.seed, self.tower_pairs)

    def with_seed(self, seed: int) -> RunConfig:
        """The same run with another seed, and the weights of that seed's tower pair."""
        changes: dict[str, Any] = {"seed": seed}
        if (pair := pair_of(seed, self.tower_pairs)) is not None:
            for room, weights in pair_weights(self.tower_pairs[pair]).items():
                changes[room] = getattr(self, room).model_copy(update={"weights": weights})
        return self.model_copy(update=changes)


NO_MATTER: dict[str, Any] = {"data": {"workers"}, "runtime": {"checkpoint_minutes", "checkpoints_kept"}, "tower_pairs": True}
"""Fields that cannot change a result: no part of a cell's id. (The weights of a run's own tower pair are in its parts.)"""
