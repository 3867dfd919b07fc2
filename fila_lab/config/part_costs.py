"""Closed-form costs of each part of the model, torch-free: parameters and FLOPs (2 x multiply-adds), forward and backward.

Matrix products, convolutions and attention are counted; norms, activations and resampling are not (under 2 % together).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fila_lab.config.interactions import feature_index, resolve_interactions
from fila_lab.config.run import ConvNextConfig, GeometryConfig, LanguageConfig, RunConfig, Size, VitConfig
from fila_lab.config.tiling import tile_layout

TEXT_TOKENS = 8
"""Tokens of a question with its answer, planned and measured alike: about those of `mini`. A choice with no dataset behind it; beside the
thousands of tokens of an image in `paper`, tens more do not show."""
VOCABULARY = {"characters": 99, "llama": 32000, "qwen2": 151936}
"""Assumed sizes: the character tokenizer's, else the architecture's usual one."""
ORACLE_CHANNELS = 92
"""Channels of the truth as a map, one-hot a cell; a test holds this equal to the data's own number."""

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
    """Parameters of one part, and its FLOPs for one image: forward, gradients of its inputs, gradients of its weights."""

    parameters: float
    flops: float
    inputs: float = 0.0
    weights: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.flops + other.flops, self.inputs + other.inputs, self.weights + other.weights)

    def times(self, count: float) -> Cost:
        """The same weights, used `count` times as often."""
        return Cost(self.parameters, self.flops * count, self.inputs * count, self.weights * count)

    def asked(self, gradient: bool) -> Cost:
        """The same, without the gradients of its inputs where nothing asks for them."""
        return self if gradient else replace(self, inputs=0.0)


def product(weights: float, tokens: float, biases: float = 0.0) -> Cost:
    """`tokens` rows through matrices of `weights` entries: as many FLOPs for each gradient as for the product."""
    flops = 2 * weights * tokens
    return Cost(weights + biases, flops, flops, flops)


def attention(tokens: float, keys: float, width: float) -> Cost:
    """Queries by keys, shares by values; full, not halved where causal. Backward, each product has two factors to give a gradient to."""
    flops = 4 * tokens * keys * width
    return Cost(0, flops, 2 * flops, 0)


def tiles_of(canvas: Size, geometry: GeometryConfig) -> int:
    """Tiles on a canvas, those that overlap included, the overview not counted."""
    layout = tile_layout(geometry, canvas)
    return layout.rows * layout.cols


def detail_size(canvas: Size, geometry: GeometryConfig) -> Size:
    """(width, height) of the detail input, pixels: 32k a tile, or the fixed square."""
    if geometry.whole_image is not None:
        return geometry.whole_image, geometry.whole_image
    return canvas[0] // geometry.tile * 32 * geometry.detail_cells, canvas[1] // geometry.tile * 32 * geometry.detail_cells


def vision_tokens(canvas: Size, geometry: GeometryConfig, image: Size | None = None) -> int:
    """Tokens the language model reads for one image: overview, canvas (each position once), one separator a row of tokens.

    image: its (width, height), pixels, where padding is dropped; without it nothing is.
    """
    across, down = tile_layout(geometry, canvas, image).handed
    return geometry.grid**2 + (across + 1) * down


def vit_layer_cost(config: VitConfig, geometry: GeometryConfig) -> Cost:
    """One tile through one layer."""
    width, inner, tokens = config.width, int(config.width * config.mlp_ratio), geometry.grid**2 + 1
    biases = 4 * width + width + inner + 4 * width  # projections', the MLP's, two norms
    return product(4 * width**2 + 2 * width * inner, tokens, biases) + attention(tokens, tokens, width)


def vit_cost(config: VitConfig, geometry: GeometryConfig, layers: int | None = None) -> Cost:
    """One tile through `layers` layers (default: those up to the features); parameters of the whole trunk, without a head."""
    width, tokens = config.width, geometry.grid**2 + 1
    run = feature_index(config.feature_layer, config.layers) if layers is None else layers
    layer = vit_layer_cost(config, geometry)
    patches = product(3 * geometry.patch**2 * width, geometry.grid**2, width + tokens * width + 4 * width)
    return patches.asked(False) + layer.times(run) + Cost((config.layers - 1) * layer.parameters, 0)


def convnext_cost(config: ConvNextConfig, size: Size) -> Cost:
    """A trunk of four stages over a (width, height) input, without a head."""
    total, before = Cost(0, 0), 3
    for stage, (depth, dim) in enumerate(zip(config.depths, config.dims, strict=True)):
        cells = (size[0] >> (stage + 2)) * (size[1] >> (stage + 2))
        kernel = (16 if stage == 0 else 4) * before * dim
        block = 49 * dim + 8 * dim**2
        others = dim + 2 * (dim if stage == 0 else before) + depth * (dim + 2 * dim + 4 * dim + dim + dim)  # biases, norms, scales
        total += product(kernel, cells).asked(stage > 0) + product(depth * block, cells, others)
        before = dim
    return total


def interaction_costs(config: RunConfig, canvas: Size) -> dict[tuple[int, int], Cost]:
    """(stage, after layer) -> cost of that interaction's fusion, overview included. Strategies from other packages count as `concat`.

    What is normalised but not projected (pooled or unfolded cells of a frozen ConvNeXt) needs no gradient, nor do tokens that nothing
    trainable has touched yet.
    """
    fusion, geometry = config.fusion, config.geometry
    if fusion.name == "none":
        return {}
    oracle = fusion.control == "oracle_map"
    tokens = (tiles_of(canvas, geometry) + 1) * geometry.grid**2
    costs: dict[tuple[int, int], Cost] = {}
    for stage, layer in resolve_interactions(fusion.depth, config.vit.layers):
        channels = ORACLE_CHANNELS if oracle else config.convnext.dims[stage - 1]
        costs[stage, layer] = _fusion_cost(config, channels, window_cells(geometry, stage), tokens, first=not costs)
    return costs


def window_cells(geometry: GeometryConfig, stage: int) -> int:
    """Detail cells a token reads at a stage."""
    return max(1, math.floor((geometry.detail_cells << (4 - stage)) / geometry.grid + 0.5)) ** 2


def _fusion_cost(config: RunConfig, channels: int, window: int, tokens: int, first: bool) -> Cost:
    """One factorised fusion: read, mix, gate, out."""
    fusion, width = config.fusion, config.vit.width
    hidden = fusion.hidden or width
    kind, combine, gated = fusion_factors(config)
    moving = not first or config.vit.trainable  # tokens ask for gradients
    read, reading = _aggregate(config, kind, channels, window, tokens, moving)
    read_moves = kind == "attend" or (config.convnext.trainable and fusion.control != "oracle_map")
    mix = product((width + read) * hidden if combine == "concat" else read * hidden, tokens, hidden)
    total = reading + mix.asked(read_moves or (moving and combine == "concat")) + product(hidden * width, tokens, width)
    if gated:
        total += product((width + read) * width, tokens, width).asked(read_moves or moving)
    return total


def fusion_factors(config: RunConfig) -> tuple[str, str, bool]:
    """(aggregate, combine, gate) of the run's fusion: its name's, where nothing overrides them."""
    fusion = config.fusion
    named = FACTORS.get(fusion.name, FACTORS["concat"])
    aggregate = "unfold" if fusion.control == "oracle_map" else fusion.aggregate or named[0]
    return aggregate, fusion.combine or named[1], named[2] if fusion.gate is None else fusion.gate


def _aggregate(config: RunConfig, kind: str, channels: int, window: int, tokens: int, moving: bool) -> tuple[int, Cost]:
    """(width of what a token reads, cost). Attention folds the keys into the query and applies the values last."""
    width, hidden, heads = config.vit.width, config.fusion.hidden or config.vit.width, config.fusion.heads
    if kind != "attend":
        return channels * (window if kind == "unfold" else 1), Cost(0, 0)
    seen = config.convnext.trainable
    value = product(channels * hidden, tokens, hidden)
    if window == 1:
        return hidden, value.asked(seen)
    query, key = product(width * hidden, tokens, hidden), product(channels * hidden, tokens)
    each = 2 * tokens * heads * window * channels  # of the queries by cells, queries by places, shares by cells, shares by places
    matched = Cost(window * channels, 4 * each, 4 * each + (2 * each if seen else 0), 2 * each)
    return hidden, value + query.asked(moving) + key + matched


def projector_cost(config: RunConfig, canvas: Size, image: Size | None = None) -> Cost:
    """Vision tokens to the language model's width, and the learned row separator (which is not projected)."""
    width, language = config.vit.width, config.language.width
    tokens = vision_tokens(canvas, config.geometry, image) - tile_layout(config.geometry, canvas, image).handed[1]
    first = product(width * language, tokens, 2 * language).asked(config.fusion.name != "none" or config.vit.trainable)
    return first + product(language**2, tokens, language) if config.projector.kind == "mlp2x_gelu" else first


def language_cost(config: LanguageConfig, tokens: int, text: int = TEXT_TOKENS) -> Cost:
    """Prefill of `tokens` tokens, of which the last `text` pass the head; full (not halved) attention."""
    layer, head = _language_layer(config), product(config.width * _vocabulary(config), text)
    layers = (product(layer.parameters, tokens) + attention(tokens, tokens, config.width)).times(config.layers)
    return Cost(language_parameters(config), layers.flops + head.flops, layers.inputs + head.inputs, layers.weights + head.weights)


def language_token_cost(config: LanguageConfig, tokens: int) -> Cost:
    """One new token after `tokens` cached ones."""
    layer, head = _language_layer(config), product(config.width * _vocabulary(config), 1)
    flops = config.layers * (product(layer.parameters, 1) + attention(1, tokens + 1, config.width)).flops + head.flops
    return Cost(language_parameters(config), flops)


def language_parameters(config: LanguageConfig) -> float:
    """All weights, embeddings and head included; the small Qwens that are loaded tie the two."""
    tied = config.architecture == "qwen2" and config.weights != "random"
    keys = (config.kv_heads or config.heads) * (config.width // config.heads)
    biases = config.width + 2 * keys if config.architecture == "qwen2" else 0
    layer = _language_layer(config).parameters + biases + 2 * config.width
    return config.layers * layer + config.width + _vocabulary(config) * config.width * (1 if tied else 2)


def _language_layer(config: LanguageConfig) -> Cost:
    """The matrices of a layer: query, key, value, output, and the three of the MLP."""
    width = config.width
    keys = (config.kv_heads or config.heads) * (width // config.heads)
    return Cost(2 * width**2 + 2 * width * keys + 3 * width * config.intermediate, 0)


def _vocabulary(config: LanguageConfig) -> int:
    return VOCABULARY.get(config.tokenizer, VOCABULARY[config.architecture])
