"""LoRA as a run asks for it (Hu et al., 2021), and which linear maps a list of targets means. peft builds it (modeling/lora.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from pydantic import Field, model_validator

from fila_lab.config.base import ConfigError, Number, Positive, Strict, did_you_mean

ALL: Literal["all-linear"] = "all-linear"
"""Every linear map but the head."""


class LoraConfig(Strict):
    """Beside each linear map W that is named, dropout, A and B of low rank: W x + alpha / rank * B A x. W is frozen, A and B train."""

    rank: Positive = Field(description="of A and B: channels between them")
    alpha: Number = Field(gt=0, description="scale of what the adapters add, times the rank")
    dropout: Number = Field(default=0.0, ge=0, lt=1, description="of the adapters' inputs, while training")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        default=ALL, description="linear maps by the end of their names, e.g. [q_proj, v_proj]; all-linear: every one but the head"
    )

    @model_validator(mode="after")
    def _check(self) -> LoraConfig:
        if self.targets != ALL and (not self.targets or not all(self.targets) or len(set(self.targets)) < len(self.targets)):
            raise ValueError(f"targets={list(self.targets)} must name linear maps, each once; give e.g. [q_proj, v_proj], or {ALL}")
        return self


def matched(lora: LoraConfig, maps: Iterable[str]) -> list[str]:
    """Of a model's linear maps, named whole, the head left out, those that get adapters: a target is a name, or its end after a dot."""
    return [name for name in maps if lora.targets == ALL or any(_is(name, target) for target in lora.targets)]


def check_targets(lora: LoraConfig, maps: Collection[str], whose: str) -> None:
    """Refuse a target that is none of a model's linear maps.

    Raises:
        ConfigError: the target, whose maps they are, and their names.
    """
    if lora.targets == ALL:
        return
    for target in lora.targets:
        if not any(_is(name, target) for name in maps):
            known = list(dict.fromkeys(name.rpartition(".")[2] for name in maps))
            raise ConfigError(
                f"language.lora.targets: {target!r} is no linear map of {whose}{did_you_mean(target, known)}; "
                f"choose of {', '.join(known) or 'another model'}, or {ALL}"
            )


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
