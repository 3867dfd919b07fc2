"""Closed-form memory of a cell, part by part, torch-free: what eats it, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fila_lab.config.counts import FEATURE_CHUNK, detail_size, llm_tokens, tiles_of
from fila_lab.config.geometry import Size
from fila_lab.config.lora_maps import adapted_maps
from fila_lab.config.run import RunConfig
from fila_lab.config.stage_runs import stages_of
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tiling import seen_canvases
from fila_lab.cost.closed.components import COMPONENTS, PROCESS_BYTES, passed_layers
from fila_lab.cost.closed.fusion_memory import kept_values
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.cost.closed.sharing import STRATEGIES, answering_bytes, step_bytes, training_bytes
from fila_lab.cost.closed.weights import weights_of


@dataclass(frozen=True)
class Memory:
    """Bytes of one part on one device while a cell trains. state: weights, and of what trains gradients and two AdamW moments, or the
    device's share of them; activations: of its share of a batch, kept for the backward pass, or what the optimiser's step takes when they
    are gone; of a frozen ConvNeXt, alive while features are computed."""

    state: float
    activations: float

    @property
    def total(self) -> float:
        return self.state + self.activations


def memory_by_component(config: RunConfig) -> dict[str, float]:
    """Part -> peak bytes of training one cell, estimated, on the largest canvas pages are seen on; `process` is Python and libraries."""
    return {"process": PROCESS_BYTES, **{name: part.total for name, part in memory_parts(config).items()}}


def memory_bytes(config: RunConfig) -> float:
    """Peak bytes of training one cell on one device, estimated, as if all parts had their peaks at once."""
    return sum(memory_by_component(config).values())


def memory_parts(config: RunConfig) -> dict[str, Memory]:
    """Part -> its memory in training one cell, on each of the run's devices: in the training stage that takes most, and where weights are
    gathered to answer questions, and that takes more than a training step, then."""
    return max((_stage_parts(stage.run) for stage in stages_of(config)), key=_total)


def _total(parts: Mapping[str, Memory]) -> float:
    return sum(part.total for part in parts.values())


def _stage_parts(config: RunConfig) -> dict[str, Memory]:
    """The same of a run without stages, or of one stage."""
    canvas = max(seen_canvases(config), key=lambda size: size[0] * size[1])
    runtime, train = config.runtime, config.train
    own = config.model_copy(update={"train": train.model_copy(update={"batch_size": -(-train.batch_size // runtime.world)})})
    weights, sharing = weights_of(config, canvas), (runtime.shares, runtime.world, value_bytes(config))
    kept, cache = _activations(own, canvas), train.eval_batch_size * _cache_bytes(config, canvas)
    if runtime.shares != "fsdp":
        kept["language"] = max(kept["language"], cache)
    if not runtime.fused_optimizer:
        kept = {name: max(count, step_bytes(weights[name], *sharing[:2])) for name, count in kept.items()}
    training = {name: Memory(training_bytes(part, *sharing), kept[name]) for name, part in weights.items()}
    if runtime.shares != "fsdp":
        return training
    asked = dict.fromkeys(COMPONENTS, 0.0) | {"language": cache}
    answering = {name: Memory(answering_bytes(part, *sharing), asked[name]) for name, part in weights.items()}
    return max(training, answering, key=_total)


def _activations(config: RunConfig, canvas: Size) -> dict[str, float]:
    """Part -> bytes it keeps of a training batch."""
    return {
        "vit": _vit_bytes(config, canvas),
        "convnext": convnext_bytes(config, canvas),
        "fusion": config.train.batch_size * value_bytes(config) * kept_values(config, canvas),
        "projector": config.train.batch_size * 2.75 * value_bytes(config) * llm_tokens(canvas, config) * config.language.width,
        "language": _language_bytes(config, canvas),
    }


def sharing_strategies(config: RunConfig, devices: int) -> dict[str, dict[str, Memory]]:
    """Strategy -> part -> its memory, were the cell to train on so many devices by it: `nothing` for one, else each of STRATEGIES. The
    batch is the same, shared among them."""
    alike = (shared_by(config, strategy, devices) for strategy in (STRATEGIES if devices > 1 else ("auto",)))
    return {run.runtime.shares: memory_parts(run) for run in alike}


def shared_by(config: RunConfig, strategy: str, devices: int) -> RunConfig:
    """The run on so many devices of one machine, by a strategy (or `nothing`, which one device is)."""
    named = "auto" if strategy == "nothing" else strategy
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"strategy": named, "devices": devices, "nodes": 1})})


def checkpoint_bytes(config: RunConfig) -> float:
    """Bytes of a checkpoint: the weights that train, and AdamW's two moments of each; in the training stage with the largest."""
    each = (weights_of(stage.run, seen_canvases(config)[0]) for stage in stages_of(config))
    return max(sum(3 * part.trained_bytes * part.trained for part in weights.values()) for weights in each)


def check_memory(config: RunConfig, available_bytes: float) -> str | None:
    """None when a cell fits in `available_bytes` of a device; else one message: how much it needs, which part eats most of it, and what to
    change."""
    needed = memory_bytes(config)
    if needed <= available_bytes:
        return None
    each = "a cell needs" if config.runtime.world == 1 else f"each of a cell's {config.runtime.world} devices needs"
    return f"{each} about {_gib(needed)} and {_gib(available_bytes)} are there; {greatest_part(config)}"


def greatest_part(config: RunConfig) -> str:
    """Which part of the model eats most memory, and what to change."""
    parts = memory_parts(config)
    worst = max(parts, key=lambda name: parts[name].total)
    part = parts[worst]
    return (
        f"{_NAMES[worst]} alone takes {_gib(part.total)} "
        f"({_gib(part.state)} of weights and optimiser, {_gib(part.activations)} of activations): {_remedy(config, worst, part)}"
    )


def value_bytes(config: RunConfig) -> int:
    """Bytes of a value in the products' type."""
    return 4 if config.runtime.precision == "fp32" else 2


def convnext_bytes(config: RunConfig, canvas: Size) -> float:
    """What a trainable ConvNeXt keeps of a batch (14 values a channel, cell and block), or the widest that a frozen one holds at a time:
    `widest_bytes` of as many images as it sees at once, a chunk of the cache's, or without a cache a batch."""
    if not has_convnext(config):
        return 0.0
    if not config.convnext.trainable:
        train = config.train
        images = FEATURE_CHUNK if config.runtime.feature_cache else max(train.batch_size, train.eval_batch_size)
        return images * widest_bytes(config, canvas)
    width, height = detail_size(canvas, config.geometry)
    cells = [(width >> stage) * (height >> stage) for stage in (2, 3, 4, 5)]
    convnext = config.convnext
    values = sum(n * depth * dim for n, depth, dim in zip(cells, convnext.depths, convnext.dims, strict=True))
    return config.train.batch_size * 14 * value_bytes(config) * values


def widest_bytes(config: RunConfig, canvas: Size) -> float:
    """Of one image, the widest that a ConvNeXt holds at a time where no gradient is recorded: the hidden layer of a stage-1 block, four
    times its width, before and after its activation."""
    if not has_convnext(config):
        return 0.0
    width, height = detail_size(canvas, config.geometry)
    return value_bytes(config) * 2 * 4 * config.convnext.dims[0] * (width >> 2) * (height >> 2)


def _vit_bytes(config: RunConfig, canvas: Size) -> float:
    """32 bytes a channel in bfloat16 and 54 in float32 of each layer a gradient passes, 45 and 81 where it trains (counted on open_clip's
    class); attention by plain products keeps the shares too."""
    vit, geometry, each = config.vit, config.geometry, value_bytes(config)
    tokens = geometry.grid**2 + 1
    channel = 9 + 18 * each if vit.trainable else 10 + 11 * each
    layer = tokens * vit.width * channel + _shares(config, vit.heads, tokens)
    return config.train.batch_size * (tiles_of(canvas, geometry) + 1) * _stacked(config, passed_layers(config), layer, tokens * vit.width)


def _language_bytes(config: RunConfig, canvas: Size) -> float:
    """Bytes a channel counted on transformers' Llama and Qwen2 classes."""
    language, each, tokens = config.language, value_bytes(config), _tokens(config, canvas)
    outer, inner = (29 + 4 * each, 4 * each) if language.weights_train else (9 + 6 * each, 3 * each)
    values = outer * language.width + inner * language.intermediate + each * _adapters_keep(config) / language.layers
    layer = tokens * values + _shares(config, language.heads, tokens)
    return config.train.batch_size * _stacked(config, language.layers, layer, tokens * language.width)


def _adapters_keep(config: RunConfig) -> int:
    """Values of a token that adapters keep in all layers: what the low rank makes of their maps' inputs, and these, which float32 maps of
    one input share, while mixed precision casts it for each."""
    maps, lora = adapted_maps(config.language), config.language.lora
    if lora is None:
        return 0
    alike = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"} if value_bytes(config) == 4 else {}
    inputs = {}
    for name, (width, _) in maps.items():
        layer, _, own = name.rpartition(".")
        inputs[layer, alike.get(own, own)] = width
    return sum(inputs.values()) + lora.rank * len(maps)


def _cache_bytes(config: RunConfig, canvas: Size) -> float:
    """Keys and values of one prompt with the longest answer."""
    language = config.language
    keys = (language.kv_heads or language.heads) * (language.width // language.heads)
    return 2 * value_bytes(config) * keys * (_tokens(config, canvas) + language.answer_tokens) * language.layers


def _tokens(config: RunConfig, canvas: Size) -> int:
    """Of the longest sequence."""
    tokens = llm_tokens(canvas, config) + text_tokens(config.language)
    if config.language.max_tokens is not None and not config.data.generated:  # rows of files may be as long as that
        return max(tokens, config.language.max_tokens)
    return tokens


def _stacked(config: RunConfig, layers: int, layer: float, values: int) -> float:
    """Bytes that layers keep: each its own, or with checkpointing each its input in float32 and one layer all."""
    return 4 * values * layers + layer * min(layers, 1) if config.runtime.checkpointing else layer * layers


def _shares(config: RunConfig, heads: int, tokens: int) -> float:
    """Bytes of softmax's output where attention is plain products; fused kernels keep none."""
    return value_bytes(config) * heads * tokens**2 if config.runtime.attention == "math" else 0.0


_NAMES = {
    "vit": "the ViT",
    "convnext": "the ConvNeXt",
    "fusion": "the fusion",
    "projector": "the projector",
    "language": "the language model",
}


def _remedy(config: RunConfig, name: str, part: Memory) -> str:
    """What to set."""
    if part.state > part.activations:
        train_less = {
            "vit": "set vit.trainable=false (4 bytes a weight instead of 16), or " if config.vit.trainable else "",
            "convnext": "set convnext.trainable=false (4 bytes a weight instead of 16), or " if config.convnext.trainable else "",
            "language": "set language.trainable=false (4 bytes a weight instead of 16), or language.lora, or "
            if config.language.weights_train
            else "",
        }.get(name, "")
        smaller = {"fusion": "lower fusion.hidden", "projector": "use a smaller language model"}.get(name, f"choose a smaller {name}")
        spread = "" if config.runtime.shares == "fsdp" else ", or spread it over several devices by runtime.strategy=fsdp"
        return f"{train_less}{smaller}{spread}"
    if name == "convnext" and not config.convnext.trainable:
        whole = config.geometry.whole_image
        field = f"geometry.detail_cells (now {config.geometry.detail_cells})" if whole is None else f"geometry.whole_image (now {whole})"
        batches = (
            "" if config.runtime.feature_cache else "set runtime.feature_cache=true, or lower train.batch_size and eval_batch_size, or "
        )
        return f"{batches}lower {field}, or use smaller canvases"
    train = config.train
    again = "" if config.runtime.checkpointing or name not in ("vit", "language") else ", or set runtime.checkpointing=true"
    return f"lower train.batch_size (now {train.batch_size}) and train.eval_batch_size (now {train.eval_batch_size}){again}"


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
