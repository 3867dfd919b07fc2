"""The language model and its tokenizer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from fila_lab.config.base import Flag, Layers, Positive, Strict, dumped
from fila_lab.config.lora import LoraConfig


class LanguageConfig(Strict):
    """A transformers causal LM, built from numbers, or loaded.

    weights: `random`; `package:NAME` or a safetensors file of `fila-lab pretrain answers`, which fill separator and projector too;
    a folder or hub name.
    """

    architecture: Literal["llama", "qwen2"] = Field(default="llama", description="the class of transformers that is built from numbers")
    width: Positive = Field(default=96, description="channels of a token")
    layers: Layers = Field(default=2, description="how many it has")
    heads: Positive = Field(default=4, description="attention heads of a layer")
    kv_heads: Positive | None = Field(default=None, description="heads of keys and values; null: as many as heads")
    intermediate: Positive = Field(default=256, description="hidden width of a layer's MLP")
    tokenizer: str = Field(
        default="characters", description="`characters`, `words` (of the seam suite, else characters), or a folder or hub name"
    )
    weights: str = Field(
        default="random",
        description="`random`, `package:NAME`, a file of `fila-lab pretrain answers`, or a folder or hub name of transformers",
    )
    trainable: Flag = Field(default=True, description="whether it trains; with training stages they say it")
    answer_tokens: Positive = Field(default=32, description="most tokens of an answer, its end included")
    dtype: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="type of its weights; null: float32 where they train, the checkpoint's own where they are frozen"
    )
    template: str = Field(default="bare", description="how turns are put into words: a name of `fila_lab.config.prompts.TEMPLATES`")
    max_tokens: Positive | None = Field(
        default=None, description="longest sequence of image and text; rows whose answer it would cut off are set aside. null: any length"
    )
    lora: LoraConfig | None = Field(default=None, description="adapters that train in place of its weights; null: its weights train")

    @property
    def weights_train(self) -> bool:
        """Whether its own weights do, and not adapters beside them, or nothing."""
        return self.trainable and self.lora is None

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`template`, `max_tokens` and `lora` only where they say something."""
        return dumped(self, dump, info, ("template", "max_tokens", "lora"))
