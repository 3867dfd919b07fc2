"""How vision tokens come to the language model's width."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Positive, Strict, dumped


class ProjectorConfig(Strict):
    """Vision tokens to the language model's width: one by one, or `factor` x `factor` neighbours of a tile as one."""

    kind: Literal["linear", "mlp2x_gelu", "pixel_shuffle", "average_pool"] = Field(
        default="mlp2x_gelu",
        description="linear; mlp2x_gelu (LLaVA-1.5); pixel_shuffle: neighbours side by side, norm and MLP (InternVL); average_pool: their "
        "mean, then MLP",
    )
    factor: Positive | None = Field(
        default=None, description="side of the square of tokens that pixel_shuffle and average_pool make one token of; null is 2"
    )

    @property
    def side(self) -> int:
        """Side of the square of tokens that become one; 1 where each goes on by itself."""
        return (self.factor or 2) if self.kind in ("pixel_shuffle", "average_pool") else 1

    @property
    def channels(self) -> int:
        """Tokens whose channels stand side by side in what is projected."""
        return self.side**2 if self.kind == "pixel_shuffle" else 1

    @model_validator(mode="after")
    def _check(self) -> ProjectorConfig:
        if self.factor is not None and self.side == 1:
            raise ValueError(
                f"factor = {self.factor} makes one token of several, which kind = {self.kind} does not; "
                "choose kind pixel_shuffle or average_pool, or leave factor out"
            )
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`factor` only where it says something."""
        return dumped(self, dump, info, ("factor",))
