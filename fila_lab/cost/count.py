"""Parameters, FLOPs and activations of the real classes, on shapes alone: no memory, no arithmetic, even for the largest preset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from fila_lab.config.counts import llm_tokens
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.cost.probe import LANGUAGE, NEW_TOKEN, OTHER, component_modules, probed
from fila_lab.cost.subject import build_subject, largest_canvas, synthetic_batch
from fila_lab.modeling import FilaModel
from fila_lab.modeling.precision import autocast


@dataclass(frozen=True)
class Count:
    """One component: its parameters, its forward FLOPs for one image, and the bytes it keeps of one image until the backward pass."""

    parameters: int
    trainable: int
    flops: int
    kept_bytes: int


def flops_of(function: Callable[[], Any]) -> int:
    """FLOPs (2 x multiply-adds) of products, convolutions and attention in a call, and of the backward pass if it runs one; norms,
    activations and resampling are not counted.

    PyTorch's counter knows no formula for the CPU's fused attention and counts it as nothing: of 382 GFLOPs for a tile through CLIP
    ViT-L/14-336 it sees 349 (233 where nn.MultiheadAttention's fast path hides the projections too). Under the math backend attention is
    plain products. Of a depth-wise convolution's backward pass it counts the channels squared: it gets the right formula here.
    """
    with _counting() as counter:
        function()
    return int(counter.get_total_flops())


def count_flops(config: RunConfig, canvas: Size | None = None, training: bool = False) -> int:
    """FLOPs of one forward pass of the whole model for one image on `canvas` (default: the largest allowed) with its text;
    `training`: and of the backward pass.

    Every text token passes the language model's head, as in FilaModel.forward.
    """
    with _shapes_of(_on_math(config)) as model:
        batch = synthetic_batch(config, 1, canvas, "cpu")
        if training:
            return flops_of(lambda: model(batch).logits.sum().backward())
        with torch.no_grad():
            return flops_of(lambda: model(batch))


def count_components(config: RunConfig, canvas: Size | None = None) -> dict[str, Count]:
    """Component (see probe.py) -> its counts; `other` has neither parameters nor FLOPs."""
    flops: dict[str, int] = defaultdict(int)
    with _shapes_of(_on_math(config)) as model, torch.no_grad(), _counting() as counter:

        @contextmanager
        def probe(name: str) -> Iterator[None]:
            before = counter.get_total_flops()
            yield
            flops[name] += counter.get_total_flops() - before

        with probed(model, probe):
            model(synthetic_batch(config, 1, canvas, "cpu"))
    modules = component_modules(build_subject(config, "meta"))  # its own: memory given anew unties what is tied
    parameters = {name: [p for part in parts for p in part.parameters()] for name, parts in modules.items()}
    kept = kept_bytes(config, canvas)
    return {
        name: Count(
            parameters=sum(p.numel() for p in own),
            trainable=sum(p.numel() for p in own if p.requires_grad),
            flops=flops[name],
            kept_bytes=kept.get(name, 0),
        )
        for name, own in {**parameters, OTHER: []}.items()
    }


def count_vision(config: RunConfig) -> dict[str, Count]:
    """Component -> counts, the language model left out."""
    shallow = config.model_copy(update={"language": config.language.model_copy(update={"layers": 1})})
    counts = count_components(shallow, None)
    del counts[LANGUAGE]
    return counts


def count_language(config: RunConfig) -> dict[str, Count]:
    """The language model's counts: prefill of one image with its text, and one new token after it (which keeps nothing)."""
    vit = config.vit.model_copy(update={"layers": 1, "feature_layer": -1})
    plain = config.fusion.model_copy(update={"name": "none", "control": None, "aggregate": None, "combine": None, "gate": None})
    alone = config.model_copy(update={"vit": vit, "fusion": plain})
    prefill = count_components(alone)[LANGUAGE]
    tokens = llm_tokens(largest_canvas(config), config) + text_tokens(config.language)
    return {LANGUAGE: prefill, NEW_TOKEN: Count(prefill.parameters, prefill.trainable, count_new_token(alone, tokens), 0)}


def count_new_token(config: RunConfig, tokens: int) -> int:
    """FLOPs of one new token after `tokens` cached ones."""
    width, heads = config.language.width, config.language.heads
    with _shapes_of(_on_math(config)) as model, torch.no_grad():
        language = model.language
        cache = DynamicCache(config=language.config)
        for layer in range(config.language.layers):
            cached = torch.empty(1, config.language.kv_heads or heads, tokens, width // heads)
            cache.update(cached, cached, layer)
        token = torch.empty(1, 1, width)
        return flops_of(lambda: language(inputs_embeds=token, use_cache=True, **{model.reader.cache_name: cache}))


def kept_bytes(config: RunConfig, canvas: Size | None = None) -> dict[str, int]:
    """Component -> bytes a training step keeps of one more image until its backward pass, in the run's precision and attention backend.

    Two images minus one: what does not grow with images (weights, their copies in the products' type) is not activation memory.
    """
    one, two = (_kept(config, images, canvas) for images in (1, 2))
    return {name: two[name] - one.get(name, 0) for name in two}


def count_parameters(config: RunConfig) -> dict[str, int]:
    """`parameters` of the whole model (towers and language model included), `trainable_parameters`, `fusion_parameters`."""
    model = build_subject(config, "meta")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable_parameters": sum(p.numel() for p in model.trainable_parameters()),
        "fusion_parameters": sum(p.numel() for p in model.fusion_parameters()),
    }


def _kept(config: RunConfig, images: int, canvas: Size | None) -> dict[str, int]:
    """Bytes of the distinct tensors that autograd saves in a training step's forward pass, by the component that saved them first."""
    kept: dict[str, int] = defaultdict(int)
    seen: dict[int, Any] = {}
    inside = [OTHER]

    @contextmanager
    def probe(name: str) -> Iterator[None]:
        inside.append(name)
        yield
        inside.pop()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = storage  # held, so that no other storage takes its address
            kept[inside[-1]] += storage.nbytes()
        return tensor

    with _shapes_of(config) as model, autocast(config.runtime.precision, "cpu"), probed(model, probe):
        batch = synthetic_batch(config, images, canvas, "cpu")
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(batch)
    return kept


@contextmanager
def _shapes_of(config: RunConfig) -> Iterator[FilaModel]:
    """The arm's model on tensors without memory; inside, new tensors have none either."""
    model = build_subject(config, "meta")
    with FakeTensorMode(allow_non_fake_inputs=True):  # the meta device itself knows no autocast, which fusions ask about
        model.to_empty(device="cpu")
        yield model


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    formulas: Any = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with sdpa_kernel(SDPBackend.MATH), counter:
        yield counter


def _convolution_backward(out: Any, pixels: Any, weight: Any, *arguments: Any, **_: Any) -> int:
    """A convolution's FLOPs for each gradient that is asked for: of its input, of its weight. weight: [C_out, C_in / groups, ...]."""
    forward = 2 * out[0] * torch.Size(out[2:]).numel() * torch.Size(weight).numel()
    wanted = arguments[7]
    return int(forward * (int(wanted[0]) + int(wanted[1])))


def _on_math(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"attention": "math"})})
