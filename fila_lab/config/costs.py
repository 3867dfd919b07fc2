"""Closed-form costs of a run, torch-free: parameters, FLOPs (2 x multiply-adds) and memory: for planning, and to check measurements by.

Matrix products, convolutions and attention are counted; norms, activations and resampling are not (under 2 % together).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fila_lab.config.interactions import feature_index, resolve_interactions
from fila_lab.config.run import ConvNextConfig, GeometryConfig, LanguageConfig, RunConfig, Size, VitConfig

TEXT_TOKENS = 48
"""Tokens of a question with its answer, assumed."""
VOCABULARY = {"characters": 99, "llama": 32000, "qwen2": 151936}
"""Assumed sizes: the character tokenizer's, else the architecture's usual one."""
ORACLE_CHANNELS = 92
"""Channels of the truth as a map, one-hot a cell; a test holds this equal to the data's own number."""
PROCESS_BYTES = 0.7e9
"""A Python process with torch loaded, measured on Linux."""

FACTORS: dict[str, tuple[str, str, bool]] = {
    "concat": ("pool", "concat", True),
    "concat_ungated": ("pool", "concat", False),
    "addition": ("pool", "add", False),
    "addition_gated": ("pool", "add", True),
    "cross_attention": ("attend", "add", False),
}
"""Named fusion -> (aggregate, combine, gate)."""


@dataclass(frozen=True)
class Cost:
    """Parameters of one part, and its forward FLOPs for one image."""

    parameters: float
    flops: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops)


def tiles_of(canvas: Size, geometry: GeometryConfig) -> int:
    """Tiles of a canvas, the overview not counted."""
    return (canvas[0] // geometry.tile) * (canvas[1] // geometry.tile)


def detail_size(canvas: Size, geometry: GeometryConfig) -> Size:
    """(width, height) of the detail input, pixels: 32k a tile, or the fixed square."""
    if geometry.whole_image is not None:
        return geometry.whole_image, geometry.whole_image
    return canvas[0] // geometry.tile * 32 * geometry.detail_cells, canvas[1] // geometry.tile * 32 * geometry.detail_cells


def vision_tokens(canvas: Size, geometry: GeometryConfig) -> int:
    """Tokens the language model reads for one image: overview, tiles, one separator a row of tokens."""
    return (tiles_of(canvas, geometry) + 1) * geometry.grid**2 + canvas[1] // geometry.patch


def vit_cost(config: VitConfig, geometry: GeometryConfig, layers: int | None = None) -> Cost:
    """One tile through `layers` layers (default: those up to the features); parameters of the whole trunk, without a head."""
    width, grid = config.width, geometry.grid
    tokens = grid**2 + 1
    run = feature_index(config.feature_layer, config.layers) if layers is None else layers
    inner = int(width * config.mlp_ratio)
    matrices = 4 * width**2 + 2 * width * inner
    layer = matrices + 4 * width + width + inner + 4 * width  # projections' biases, the MLP's, two norms
    patch = 3 * geometry.patch**2 * width
    parameters = patch + width + tokens * width + 4 * width + config.layers * layer
    flops = 2 * grid**2 * patch + run * (2 * tokens * matrices + 4 * tokens**2 * width)
    return Cost(parameters, flops)


def convnext_cost(config: ConvNextConfig, size: Size) -> Cost:
    """A trunk of four stages over a (width, height) input, without a head."""
    parameters, flops, before = 0, 0, 3
    for stage, (depth, dim) in enumerate(zip(config.depths, config.dims, strict=True)):
        cells = (size[0] >> (stage + 2)) * (size[1] >> (stage + 2))
        kernel = (16 if stage == 0 else 4) * before * dim
        block = 49 * dim + 8 * dim**2
        parameters += kernel + dim + 2 * (dim if stage == 0 else before) + depth * (block + dim + 2 * dim + 4 * dim + dim + dim)
        flops += 2 * cells * (kernel + depth * block)
        before = dim
    return Cost(parameters, flops)


def fusion_cost(config: RunConfig, canvas: Size) -> Cost:
    """All interactions of a factorised fusion, overview included. Strategies from other packages are counted as `concat`."""
    fusion, geometry = config.fusion, config.geometry
    if fusion.name == "none":
        return Cost(0, 0)
    named = FACTORS.get(fusion.name, FACTORS["concat"])
    oracle = fusion.control == "oracle_map"
    aggregate = "unfold" if oracle else fusion.aggregate or named[0]
    combine = fusion.combine or named[1]
    gate = named[2] if fusion.gate is None else fusion.gate
    width, hidden = config.vit.width, fusion.hidden or config.vit.width
    tokens = (tiles_of(canvas, geometry) + 1) * geometry.grid**2
    total = Cost(0, 0)
    for stage, _ in resolve_interactions(fusion.depth, config.vit.layers):
        channels = ORACLE_CHANNELS if oracle else config.convnext.dims[stage - 1]
        window = max(1, math.floor((geometry.detail_cells << (4 - stage)) / geometry.grid + 0.5)) ** 2
        read, reading = _aggregate(aggregate, width, channels, hidden, fusion.heads, window)
        mixed = (width + read) if combine == "concat" else read
        gating = (width + read) * width if gate else 0
        matrices = mixed * hidden + hidden * width + gating
        biases = hidden + width + (width if gate else 0)
        total += Cost(reading.parameters + matrices + biases, tokens * (reading.flops + 2 * matrices))
    return total


def _aggregate(kind: str, width: int, channels: int, hidden: int, heads: int, window: int) -> tuple[int, Cost]:
    """(width of what a token reads, cost a token). Attention folds the keys into the query and applies the values last."""
    if kind != "attend":
        return channels * (window if kind == "unfold" else 1), Cost(0, 0)
    value = channels * hidden
    if window == 1:
        return hidden, Cost(value + hidden, 2 * value)
    parameters = value + hidden + width * hidden + hidden + value + window * channels
    return hidden, Cost(parameters, 2 * (width * hidden + 2 * value + 4 * heads * window * channels))


def projector_cost(config: RunConfig, canvas: Size) -> Cost:
    """Vision tokens to the language model's width, and the learned row separator."""
    width, language = config.vit.width, config.language.width
    deep = config.projector.kind == "mlp2x_gelu"
    weights = width * language + (language * language if deep else 0)
    return Cost(weights + language * (3 if deep else 2), 2 * vision_tokens(canvas, config.geometry) * weights)


def language_cost(config: LanguageConfig, tokens: int) -> Cost:
    """Prefill of `tokens` tokens; full (not halved) attention, the head over the last token."""
    width, head = config.width, config.width // config.heads
    keys = (config.kv_heads or config.heads) * head
    matrices = 2 * width**2 + 2 * width * keys + 3 * width * config.intermediate
    biases = width + 2 * keys if config.architecture == "qwen2" else 0
    vocabulary = VOCABULARY.get(config.tokenizer, VOCABULARY[config.architecture])
    tied = config.architecture == "qwen2" and config.weights != "random"  # as the small Qwens that are loaded
    parameters = config.layers * (matrices + biases + 2 * width) + width + vocabulary * width * (1 if tied else 2)
    flops = config.layers * (2 * tokens * matrices + 4 * tokens**2 * width) + 2 * width * vocabulary
    return Cost(parameters, flops)


def component_costs(config: RunConfig, canvas: Size | None = None) -> dict[str, Cost]:
    """Part -> cost of one image on `canvas` (default: the mean over the allowed canvases). Without fusion there is no ConvNeXt."""
    if canvas is None:
        each = [component_costs(config, size) for size in config.geometry.scaled_canvases]
        return {name: Cost(each[0][name].parameters, sum(cost[name].flops for cost in each) / len(each)) for name in each[0]}
    geometry = config.geometry
    tile = vit_cost(config.vit, geometry)
    fused = config.fusion.name != "none" and config.fusion.control != "oracle_map"
    return {
        "vit": Cost(tile.parameters, tile.flops * (tiles_of(canvas, geometry) + 1)),
        "convnext": convnext_cost(config.convnext, detail_size(canvas, geometry)) if fused else Cost(0, 0),
        "fusion": fusion_cost(config, canvas),
        "projector": projector_cost(config, canvas),
        "language": language_cost(config.language, vision_tokens(canvas, geometry) + TEXT_TOKENS),
    }


def forward_flops(config: RunConfig, canvas: Size | None = None) -> float:
    """FLOPs of reading one image and its question, the whole model."""
    return sum(cost.flops for cost in component_costs(config, canvas).values())


def training_flops(config: RunConfig, canvas: Size | None = None, cached_features: bool = False) -> float:
    """FLOPs of one training item: forward, once more where a gradient passes, once more where weights train.

    A frozen ViT passes gradients from the first interaction on. `cached_features` leaves the frozen ConvNeXt out.
    """
    costs = component_costs(config, canvas)
    fused = config.fusion.name != "none"
    first = resolve_interactions(config.fusion.depth, config.vit.layers)[0][1] if fused else config.vit.layers
    passes = max(0, feature_index(config.vit.feature_layer, config.vit.layers) - first) / config.vit.layers
    total = costs["vit"].flops * (3 if config.vit.trainable else 1 + passes)
    total += costs["convnext"].flops * (3 if config.convnext.trainable else 0 if cached_features else 1)
    total += 3 * (costs["fusion"].flops + costs["projector"].flops)
    return total + costs["language"].flops * (3 if config.language.trainable else 2)


def memory_bytes(config: RunConfig) -> float:
    """Peak bytes of training one cell, estimated: weights in float32, gradients and two AdamW moments of what trains,
    activations of the largest canvas (34 + 5 heads x tokens / width bytes a channel and layer, doubled in float32), the process."""
    trains = {"vit": config.vit.trainable, "convnext": config.convnext.trainable, "language": config.language.trainable}
    costs = component_costs(config, config.geometry.scaled_canvases[0])
    weights = sum(cost.parameters * (16 if trains.get(name, True) else 4) for name, cost in costs.items())
    return PROCESS_BYTES + weights + max(_activation_bytes(config, canvas) for canvas in config.geometry.scaled_canvases)


def feature_bytes(config: RunConfig, bytes_per_value: int = 2) -> float:
    """Bytes of one image's four detail maps in the feature cache, mean over the allowed canvases."""
    sizes = [detail_size(canvas, config.geometry) for canvas in config.geometry.canvases]
    values = sum((width >> s) * (height >> s) * dim for width, height in sizes for s, dim in enumerate(config.convnext.dims, start=2))
    return bytes_per_value * values / len(sizes)


def item_bytes(config: RunConfig) -> float:
    """Bytes of one item's pixels in the pool (tiles, overview, detail input where there is one; uint8), mean over the allowed canvases."""
    geometry = config.geometry
    total = 0
    for canvas in geometry.scaled_canvases:
        detail = detail_size(canvas, geometry) if geometry.has_detail else (0, 0)
        total += 3 * ((tiles_of(canvas, geometry) + 1) * geometry.tile**2 + detail[0] * detail[1])
    return total / len(geometry.canvases)


def _activation_bytes(config: RunConfig, canvas: Size) -> float:
    vit, language, geometry = config.vit, config.language, config.geometry
    scale = config.train.batch_size * (2 if config.runtime.precision == "fp32" else 1)

    def layer(tokens: int, width: int, heads: int) -> float:
        return tokens * width * (34 + 5 * heads * tokens / width)

    vision = (tiles_of(canvas, geometry) + 1) * vit.layers * layer(geometry.grid**2 + 1, vit.width, vit.heads)
    if config.fusion.name == "none" and not vit.trainable:
        vision /= vit.layers
    text = language.layers * layer(vision_tokens(canvas, geometry) + TEXT_TOKENS, language.width, language.heads)
    maps = feature_bytes(config, 2) if config.fusion.name != "none" else 0
    return scale * (vision + text + maps)
