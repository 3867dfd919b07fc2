"""The two towers: their shapes, weights, and what they were trained to see."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Flag, Layers, Number, Positive, Strict, Whole, dumped

Channels = tuple[Number, Number, Number]
"""Red, green and blue."""


class PixelsConfig(Strict):
    """What a tower was trained to see: pixels between 0 and 1, less a mean, over a standard deviation."""

    mean: Channels = Field(description="of each channel, pixels between 0 and 1")
    std: Channels = Field(description="standard deviation of each channel")

    @model_validator(mode="after")
    def _check(self) -> PixelsConfig:
        if min(self.std) <= 0:
            raise ValueError(f"std={list(self.std)} is no standard deviation; give three positive numbers")
        return self


_PIXELS = "mean and standard deviation of pixels between 0 and 1; null: those of the weights' tag, CLIP's where they have none"


class VitConfig(Strict):
    """An open_clip VisionTransformer. weights: `random`, `package:NAME`, a file or folder of published weights,
    `open_clip:MODEL/TAG`, or `hf:OWNER/NAME`."""

    width: Positive = Field(description="channels of a token")
    layers: Layers = Field(description="how many it has")
    heads: Positive = Field(description="attention heads of a layer")
    mlp_ratio: Number = Field(default=4.0, gt=0, le=1000, description="hidden width of a layer's MLP over its width")
    quick_gelu: Flag = Field(default=False, description="x * sigmoid(1.702 x) for GELU, as in OpenAI's CLIP")
    feature_layer: Whole = Field(default=-2, description="layer whose patch tokens go on; -1 is the last")
    weights: str = Field(
        default="random",
        description="`random`, `package:NAME`, a file or folder of published weights, `open_clip:MODEL/TAG` or `hf:OWNER/NAME`",
    )
    trainable: Flag = Field(default=False, description="whether it trains; with training stages they say it")
    positions: Literal["exact", "interpolate"] = Field(
        default="exact", description="interpolate: positional embeddings of weights with another grid are resampled to the run's"
    )
    pixels: PixelsConfig | None = Field(default=None, description=_PIXELS)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`positions` and `pixels` only where they say something."""
        return dumped(self, dump, info, ("positions", "pixels"))


class ConvNextConfig(Strict):
    """A timm ConvNeXt trunk. weights: `random`, `package:NAME`, a file or folder of published weights, `timm:MODEL.TAG`,
    `open_clip:MODEL/TAG`, or `hf:OWNER/NAME`."""

    depths: tuple[Layers, Layers, Layers, Layers] = Field(description="blocks of each stage")
    dims: tuple[Positive, Positive, Positive, Positive] = Field(description="channels of each stage")
    conv_mlp: Flag = Field(default=False, description="MLPs as 1x1 convolutions: timm's argument, the same numbers in another layout")
    norm_eps: Number = Field(default=1e-6, gt=0, description="epsilon of its norms")
    weights: str = Field(
        default="random",
        description="`random`, `package:NAME`, a file or folder of published weights, `timm:MODEL.TAG`, `open_clip:MODEL/TAG` or "
        "`hf:OWNER/NAME`",
    )
    trainable: Flag = Field(default=False, description="whether it trains; with training stages they say it")
    pixels: PixelsConfig | None = Field(default=None, description=_PIXELS)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`norm_eps` and `pixels` only where they say something."""
        return dumped(self, dump, info, ("norm_eps", "pixels"))
