"""What one run is: every field that can change a result of a cell, as strict pydantic models.

Lengths are canvas pixels unless a name says otherwise. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Flag, Layers, Number, Positive, Seed, Strict, Whole, dumped, without_usual
from fila_lab.config.canvas_rules import grids_up_to
from fila_lab.config.data import DataConfig
from fila_lab.config.lora import LoraConfig
from fila_lab.config.stages import Schedule, StageConfig, with_trainable

Aggregate = Literal["pool", "unfold", "attend", "attend_tile", "attend_neighbours", "attend_tokens"]
"""How a token reads its window of cells."""
Combine = Literal["concat", "add"]
"""How what was read joins the token."""

Attention = Literal["math", "flash", "auto"]
"""The backend of attention; `auto`: by shape and phase."""

Strategy = Literal["auto", "ddp", "fsdp", "deepspeed"]

Size = tuple[Positive, Positive]


class TilingConfig(Strict):
    """How the model sees an image: on which canvas, and how that is cut into tiles. The defaults are `geometry.canvases` as they are.

    Pages of the suite, and what is cut on them, follow `geometry.canvases` whatever stands here: every tiling reads the same items.
    One canvas of one tile is a single padded square (with fit=stretch: a plain resize).
    """

    canvases: tuple[Size, ...] | None = Field(
        default=None, description="canvases to choose from, (width, height) in pixels; null is geometry.canvases (internvl: max_tiles)"
    )
    rule: Literal["llava_next", "internvl"] = "llava_next"
    max_tiles: Layers = Field(default=12, description="for rule internvl: canvases are all grids of up to so many tiles")
    fit: Literal["pad", "stretch"] = Field(default="pad", description="pad: the aspect ratio stays; stretch: the image fills the canvas")
    overlap: Whole = Field(
        default=0, ge=0, description="patches that neighbouring tiles share, at least; the canvas and its pixels stay, tiles are added"
    )
    padding_tokens: Literal["keep", "drop"] = Field(
        default="keep", description="drop: tokens of the canvas that lie wholly in the padding are not handed to the language model"
    )

    @property
    def own_canvases(self) -> bool:
        """Whether an image may go on other canvases than `geometry.canvases`."""
        return self.canvases is not None or self.rule != "llava_next"


class GeometryConfig(Strict):
    """How an image becomes a canvas, tiles, an overview and a detail input."""

    tile: Positive = 336
    patch: Positive = 14
    canvases: tuple[Size, ...] = Field(min_length=1, description="allowed canvases, (width, height) in pixels")
    canvas_rule: Literal["llava_next"] = "llava_next"
    resample: Literal["bicubic", "bilinear", "area", "bicubic_torch"] = Field(
        default="bicubic",
        description="how pixels are resampled; bicubic_torch is PyTorch's kernel, as Hugging Face's image processors use it: twice as fast",
    )
    vit_scale: Positive = Field(
        default=1, description="f: the ViT sees each canvas enlarged f times, as f x f times the tiles; pages and their seams stay (rivals)"
    )
    tiling: TilingConfig = TilingConfig()
    detail_cells: Positive | None = Field(
        default=None, description="k: stage-4 ConvNeXt cells per tile side; the detail input is 32k px a tile (null with whole_image)"
    )
    whole_image: Positive | None = Field(
        default=None, description="side of a fixed square detail input, whatever the canvas, instead of 32k px a tile; then there is no k"
    )

    @property
    def grid(self) -> int:
        """g: ViT tokens per tile side."""
        return self.tile // self.patch

    @property
    def cells_a_side(self) -> int:
        """Stage-4 cells per tile side by which fusions are built: k. Of a `whole_image` input those of a canvas of one tile, the most that
        a tile can get: no cell is lost, parameters do not depend on the canvases, and fewer are resampled to the same windows."""
        if self.whole_image is not None:
            return self.whole_image // 32
        assert self.detail_cells is not None
        return self.detail_cells

    @property
    def has_detail(self) -> bool:
        """Whether there is a detail input: a ViT that sees enlarged canvases takes its place."""
        return self.vit_scale == 1

    @property
    def allowed_canvases(self) -> tuple[Size, ...]:
        """The canvases an image can go on, before `vit_scale` enlarges them."""
        if self.tiling.canvases is None and self.tiling.rule == "internvl":
            return grids_up_to(self.tiling.max_tiles, self.tile)
        return self.tiling.canvases or self.canvases

    @property
    def reference(self) -> GeometryConfig:
        """The same canvases as they are: the geometry by which pages are made and their places named."""
        return self.model_copy(update={"vit_scale": 1, "tiling": TilingConfig()})

    @model_validator(mode="before")
    @classmethod
    def _one_detail_input(cls, content: Any) -> Any:
        """A preset's k is not that of a run whose detail input has a fixed size, nor a difference between two of them."""
        if isinstance(content, Mapping) and content.get("whole_image") is not None:
            return {**content, "detail_cells": None}
        return content

    @model_validator(mode="after")
    def _check(self) -> GeometryConfig:
        if self.detail_cells is None and self.whole_image is None:
            raise ValueError(f"detail_cells is not set; give the stage-4 cells per tile side (native is {self.grid}), or whole_image")
        if self.tile % self.patch:
            raise ValueError(f"tile={self.tile} is not a multiple of patch={self.patch}; choose a tile of whole patches")
        named = [("canvases", canvas) for canvas in self.canvases] + [("tiling.canvases", canvas) for canvas in self.tiling.canvases or ()]
        for field, (width, height) in named:
            if width % self.tile or height % self.tile:
                raise ValueError(f"{field}: {width}x{height} is not a whole number of tiles of {self.tile} px; choose multiples of tile")
        if self.tiling.canvases == ():
            raise ValueError("tiling.canvases is empty; list at least one (width, height), or leave it null")
        if self.tiling.overlap >= self.grid:
            raise ValueError(
                f"tiling.overlap={self.tiling.overlap} leaves a tile of {self.grid} patches none of its own; choose at most {self.grid - 1}"
            )
        if self.whole_image is not None and self.whole_image % 32:
            near = 32 * round(self.whole_image / 32) or 32
            raise ValueError(f"whole_image={self.whole_image} is not a multiple of the ConvNeXt stride 32; choose e.g. {near}")
        return self


Channels = tuple[Number, Number, Number]
"""Red, green and blue."""


class PixelsConfig(Strict):
    """What a tower was trained to see: pixels between 0 and 1, less a mean, over a standard deviation."""

    mean: Channels
    std: Channels

    @model_validator(mode="after")
    def _check(self) -> PixelsConfig:
        if min(self.std) <= 0:
            raise ValueError(f"std={list(self.std)} is no standard deviation; give three positive numbers")
        return self


_PIXELS = "mean and standard deviation of pixels between 0 and 1; null: those of the weights' tag, CLIP's where they have none"


class VitConfig(Strict):
    """An open_clip VisionTransformer. weights: `random`, `package:NAME`, a file or folder of published weights,
    `open_clip:MODEL/TAG`, or `hf:OWNER/NAME`."""

    width: Positive
    layers: Layers
    heads: Positive
    mlp_ratio: Number = Field(default=4.0, gt=0, le=1000)
    quick_gelu: Flag = False
    feature_layer: Whole = Field(default=-2, description="layer whose patch tokens go on; -1 is the last")
    weights: str = "random"
    trainable: Flag = False
    positions: Literal["exact", "interpolate"] = Field(
        default="exact", description="interpolate: positional embeddings of weights with another grid are resampled to the run's"
    )
    pixels: PixelsConfig | None = Field(default=None, description=_PIXELS)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Records from before there were these fields stay as they are."""
        return dumped(self, dump, info, ("positions", "pixels"))


class ConvNextConfig(Strict):
    """A timm ConvNeXt trunk. weights: `random`, `package:NAME`, a file or folder of published weights, `timm:MODEL.TAG`,
    `open_clip:MODEL/TAG`, or `hf:OWNER/NAME`."""

    depths: tuple[Layers, Layers, Layers, Layers]
    dims: tuple[Positive, Positive, Positive, Positive]
    conv_mlp: Flag = False
    norm_eps: Number = Field(default=1e-6, gt=0, description="epsilon of its norms")
    weights: str = "random"
    trainable: Flag = False
    pixels: PixelsConfig | None = Field(default=None, description=_PIXELS)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """As that of `vit`."""
        return dumped(self, dump, info, ("norm_eps", "pixels"))


class FusionConfig(Strict):
    """Which fusion, where, and how wide; `control` replaces the detail maps by something that should not help (or, oracle_map, must)."""

    name: str = "concat"
    depth: Literal["last", "multi", "after"] | tuple[tuple[Whole, Whole | Literal["after"]], ...] = Field(
        default="multi",
        description="`last`, `multi`, `after` (behind the feature layer), or a list of [stage 1-4, after ViT layer or `after`] pairs",
    )
    hidden: Positive | None = Field(default=None, description="hidden width; null is the ViT width")
    heads: Positive = Field(default=4, description="attention heads, where the strategy has a number of them")
    aggregate: Aggregate | None = Field(default=None, description="overrides the strategy's factor")
    combine: Combine | None = None
    gate: Flag | None = None
    resample: Literal["area", "bilinear", "nearest"] = Field(
        default="area", description="operator where a stage map does not divide into the token grid"
    )
    control: Literal["foreign", "shifted", "shuffled", "constant", "random_weights", "random_window", "oracle_map"] | None = None
    shift: Whole = Field(default=1, description="stage-4 cells by which `shifted` moves the maps, cyclically")
    eval_shift: Whole | None = Field(default=None, description="the same at evaluation; null is fusion.shift")
    detail_resolution: Literal["high", "canvas"] = Field(
        default="high", description="`canvas`: the detail input reduced to the canvas's pixels and enlarged again (same cells, same FLOPs)"
    )
    detail_context: Literal["canvas", "tile"] = Field(
        default="canvas", description="`tile`: the ConvNeXt sees each tile alone, so no cell knows what lies across a seam"
    )
    handoff: Literal["none", "append"] = Field(
        default="none", description="append: stage-4 means, one a canvas token, go to the language model too, behind the visual tokens"
    )


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
                f"projector.factor={self.factor} makes one token of several, which kind={self.kind} does not; "
                "choose kind pixel_shuffle or average_pool, or leave factor out"
            )
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`factor` only where it says something, or all is asked for, as LanguageConfig does."""
        content: dict[str, Any] = dump(self)
        return content if (info.context or {}).get("whole") else without_usual(type(self), content, ("factor",))


class LanguageConfig(Strict):
    """A transformers causal LM, built from numbers, or loaded.

    weights: `random`; `package:NAME` or a safetensors file of `fila-lab pretrain answers`, which fill separator and projector too;
    a folder or hub name.
    """

    architecture: Literal["llama", "qwen2"] = "llama"
    width: Positive = 96
    layers: Layers = 2
    heads: Positive = 4
    kv_heads: Positive | None = None
    intermediate: Positive = 256
    tokenizer: str = Field(
        default="characters", description="`characters`, `words` (of the seam suite, else characters), or a folder or hub name"
    )
    weights: str = "random"
    trainable: Flag = True
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
        """`template`, `max_tokens` and `lora` only where they say something, or all is asked for: whatever hashes or compares a run without
        them (ids, checkpoints, costs) then does so as records from before there were these fields."""
        content: dict[str, Any] = dump(self)
        if (info.context or {}).get("whole"):
            return content
        return without_usual(type(self), content, ("template", "max_tokens", "lora"))


class TrainConfig(Strict):
    """Optimisation of the trainable parts; of training stages, what they do not say themselves."""

    steps: Positive = 1000
    batch_size: Positive = 64
    accumulate: Positive = Field(default=1, description="forward passes of batch_size rows that make one step")
    learning_rate: Number = Field(default=2e-3, gt=0)
    weight_decay: Number = Field(default=0.01, ge=0, description="of matrices: norms and biases have none")
    warmup: Number = Field(default=0.1, ge=0, lt=1, description="share of steps")
    schedule: Schedule = Field(default="cosine", description="the learning rate after the warm-up: cosine and linear end at zero")
    gradient_clip: Number = Field(default=1.0, gt=0)
    log_every: Positive = 50
    validate_every: Positive = 250
    eval_batch_size: Positive = 256
    truth_weight: Number = Field(
        default=0.0, ge=0, description="weight of a second loss: projected tokens against the answer model's embedding of their truth"
    )
    stages: tuple[StageConfig, ...] | None = Field(
        default=None, min_length=1, description="training stages, one after another; null: a single one, of all that is trainable"
    )

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """`accumulate`, `schedule` and `stages` only where they say something, or all is asked for; see LanguageConfig."""
        content: dict[str, Any] = dump(self)
        if (info.context or {}).get("whole"):
            return content
        return without_usual(type(self), content, ("accumulate", "schedule", "stages"))


class RuntimeConfig(Strict):
    """How the numbers are computed; in the cell's id, because it can change the last bit (but for what only says how often it is saved)."""

    precision: Literal["fp32", "bf16", "fp16"] = Field(default="bf16", description="of products; fp16 scales the loss, on GPUs alone")
    attention: Attention = "math"
    threads: Positive = 1
    accelerator: Literal["cpu", "gpu"] = "cpu"
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
        """What later versions added only where it says something, or all is asked for; see LanguageConfig."""
        content: dict[str, Any] = dump(self)
        added = ("strategy", "nodes", "fused_optimizer", "checkpoint_minutes", "checkpoints_kept")
        return content if (info.context or {}).get("whole") else without_usual(type(self), content, added)


class RunConfig(Strict):
    """One cell's configuration: with the hashes of data and weights, its result is a pure function of this."""

    preset: str = Field(description="name of the preset this run resolves from")
    seed: Seed = 0
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
