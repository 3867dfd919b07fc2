"""How the numbers are computed: types, kernels, devices, checkpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from fila_lab.config.base import Flag, Number, Positive, Strict, dumped

Attention = Literal["math", "flash", "auto"]
"""The backend of attention; `auto`: by shape and phase."""

Strategy = Literal["auto", "ddp", "fsdp", "deepspeed"]


class RuntimeConfig(Strict):
    """How the numbers are computed; in the cell's id, because it can change the last bit (but for what only says how often it is saved)."""

    precision: Literal["fp32", "bf16", "fp16"] = Field(default="bf16", description="of products; fp16 scales the loss, on GPUs alone")
    attention: Attention = Field(default="math", description="the backend of attention; auto: by shape and phase")
    threads: Positive = Field(default=1, description="CPU threads of a cell")
    accelerator: Literal["cpu", "gpu"] = Field(default="cpu", description="what cells compute on")
    devices: Positive = Field(default=1, description="of each machine")
    compile: Flag = Field(default=False, description="the ViT layer by layer and the ConvNeXt stage by stage; wants a C++ compiler")
    feature_cache: Flag = Field(default=True, description="read a frozen ConvNeXt's maps from the cache; false: compute them in every step")
    checkpointing: Flag = Field(
        default=False, description="recompute the ViT's layers after the first fusion point and the language model's in backward"
    )
    strategy: Strategy = Field(
        default="auto",
        description="what devices share beside the batch. ddp: nothing; deepspeed (ZeRO stage 2): gradients and the optimiser's state; "
        "fsdp: the weights too; auto: ddp where there are several devices",
    )
    nodes: Positive = Field(default=1, description="machines that train one cell together; a launcher such as torchrun starts it on each")
    fused_optimizer: Flag = Field(default=False, description="AdamW as one kernel for all weights of a type, instead of one an operation")
    checkpoint_minutes: Number = Field(default=5.0, gt=0, description="minutes of training from one checkpoint to the next")
    checkpoints_kept: Positive = Field(default=1, description="the newest so many stay; a cell goes on from the newest that is whole")

    @property
    def world(self) -> int:
        """Devices that train one cell together."""
        return self.devices * self.nodes

    @property
    def shares(self) -> Literal["nothing", "ddp", "fsdp", "deepspeed"]:
        """The strategy that `auto` means, else its own name; `nothing` for a single device by itself."""
        if self.strategy == "auto":
            return "ddp" if self.world > 1 else "nothing"
        return self.strategy

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """What later versions added, only where it says something."""
        return dumped(self, dump, info, ("strategy", "nodes", "fused_optimizer", "checkpoint_minutes", "checkpoints_kept"))
