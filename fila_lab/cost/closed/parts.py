"""Closed-form costs of each part of the model, torch-free: parameters and FLOPs (2 x multiply-adds), forward and backward.

Matrix products, convolutions and attention are counted; norms, activations and resampling are not (under 2 % together).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fila_lab.config.counts import handoff_tokens, read_layout, vision_tokens
from fila_lab.config.fusion_points import feature_index, resolve_fusion_points
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.language import LanguageConfig
from fila_lab.config.lora_maps import adapted_maps
from fila_lab.config.prompts import fixed_tokens
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_vit, map_channels, map_trains, visual_width
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.vocabulary import VOCABULARY

TEXT_TOKENS = 8
"""Tokens of a bare question with its answer, planned and measured alike: about those of `mini`. A choice with no dataset behind it; beside
the thousands of tokens of an image in `paper`, tens more do not show."""


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


def vit_layer_cost(config: VitConfig, geometry: GeometryConfig) -> Cost:
    """One tile through one layer."""
    width, inner, tokens = config.width, int(config.width * config.mlp_ratio), geometry.grid**2 + 1
    biases = 4 * width + width + inner + 4 * width  # projections', the MLP's, two norms
    return product(4 * width**2 + 2 * width * inner, tokens, biases) + attention(tokens, tokens, width)


def vit_cost(config: VitConfig, geometry: GeometryConfig) -> Cost:
    """One tile through the layers up to the features; parameters of the whole trunk, without a head."""
    width, tokens = config.width, geometry.grid**2 + 1
    run, layer = feature_index(config.feature_layer, config.layers), vit_layer_cost(config, geometry)
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


def projector_cost(config: RunConfig, canvas: Size, image: Size | None = None) -> Cost:
    """Vision tokens to the language model's width, the learned row separator (which is not projected), and the handoff's own projector."""
    fusion, separators = config.fusion, sum(one.handed[1] for one in read_layout(canvas, config, image).grids)
    tokens = vision_tokens(canvas, config, image) - separators
    moving = fusion.name != "none" or config.vit.trainable if has_vit(config) else map_trains(config)
    visual = _projection(config, visual_width(config), tokens, moving) + Cost(config.language.width, 0)
    if fusion.handoff != "append":
        return visual
    pairs = resolve_fusion_points(fusion.depth, config.vit.layers, config.vit.feature_layer) if fusion.name == "bidirectional" else ()
    changed = any(stage == 4 for stage, _ in pairs)
    return visual + _projection(config, map_channels(config, 4), handoff_tokens(canvas, config, image), map_trains(config) or changed)


def _projection(config: RunConfig, width: int, tokens: int, moving: bool) -> Cost:
    """`tokens` tokens (merged ones) of `width` channels to the language model's width; `moving`: they ask for gradients."""
    projector, language = config.projector, config.language.width
    read = width * projector.channels
    norm = 2 * read if projector.kind == "pixel_shuffle" else 0
    first = product(read * language, tokens, norm + language).asked(moving or norm > 0)  # for the norm's own gain
    return first if projector.kind == "linear" else first + product(language**2, tokens, language)


def text_tokens(config: LanguageConfig) -> int:
    """Tokens of a question with its answer, in the words of the run's template."""
    return TEXT_TOKENS + fixed_tokens(config.template, config.tokenizer)


def language_cost(config: LanguageConfig, tokens: int, text: int | None = None) -> Cost:
    """Prefill of `tokens` tokens, of which the last `text` (null: `text_tokens`) pass the head; full (not halved) attention."""
    passing = text_tokens(config) if text is None else text
    layer, head = _language_layer(config), product(config.width * vocabulary_of(config), passing)
    layers = (product(layer.parameters, tokens) + attention(tokens, tokens, config.width)).times(config.layers)
    return replace(layers + head, parameters=language_parameters(config)) + lora_cost(config, tokens)


def language_token_cost(config: LanguageConfig, tokens: int) -> Cost:
    """One new token after `tokens` cached ones."""
    layer, head = _language_layer(config), product(config.width * vocabulary_of(config), 1)
    flops = config.layers * (product(layer.parameters, 1) + attention(1, tokens + 1, config.width)).flops + head.flops
    adapters = lora_cost(config, 1)
    return Cost(language_parameters(config) + adapters.parameters, flops + adapters.flops)


def lora_cost(config: LanguageConfig, tokens: float) -> Cost:
    """`tokens` tokens through the adapters beside the language model's linear maps."""
    rank = config.lora.rank if config.lora is not None else 0
    return product(sum(rank * (inputs + outputs) for inputs, outputs in adapted_maps(config).values()), tokens)


def language_parameters(config: LanguageConfig) -> float:
    """All weights, embeddings and head included, adapters not."""
    keys = (config.kv_heads or config.heads) * (config.width // config.heads)
    biases = config.width + 2 * keys if config.architecture == "qwen2" else 0
    layer = _language_layer(config).parameters + biases + 2 * config.width
    return config.layers * layer + config.width + embedding_parameters(config)


def embedding_parameters(config: LanguageConfig) -> int:
    """Weights of embedding and head; the small Qwens that are loaded tie the two."""
    tied = config.architecture == "qwen2" and config.weights != "random"
    return vocabulary_of(config) * config.width * (1 if tied else 2)


def _language_layer(config: LanguageConfig) -> Cost:
    """The matrices of a layer: query, key, value, output, and the three of the MLP."""
    width = config.width
    keys = (config.kv_heads or config.heads) * (width // config.heads)
    return Cost(2 * width**2 + 2 * width * keys + 3 * width * config.intermediate, 0)


def vocabulary_of(config: LanguageConfig) -> int:
    """Rows of its embedding: the tokenizer's, or those usual for its architecture."""
    return VOCABULARY.get(config.tokenizer, VOCABULARY[config.architecture])
