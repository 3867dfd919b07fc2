"""One timed pass of an arm's encoder, of its language model, of a matrix product: seconds by component."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from fila_lab.config.counts import llm_tokens
from fila_lab.config.run import RunConfig
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.cost.probe import LANGUAGE, NEW_TOKEN, OTHER, probed
from fila_lab.cost.subject import device_of, largest_canvas
from fila_lab.modeling import FilaModel, VisionBatch
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.causal import CausalReader
from fila_lab.modeling.precision import PRODUCTS, autocast

SIDE = 4096
"""Of the square matrices whose product is the machine's peak."""
HEAD = "language head"
TOKEN_HEAD = "language new token, head"
TOKENS_IN_A_ROW = 8
"""New tokens timed together: one alone can be shorter than the clock's noise."""
Seconds = dict[str, float]


def see_seconds(model: FilaModel, batch: VisionBatch, config: RunConfig) -> Seconds:
    """Component -> seconds an image from uint8 pixels to what the language model reads; `other` is what lies between the components."""
    device, spent = batch.input_ids.device.type, defaultdict[str, float](float)

    @contextmanager
    def probe(name: str) -> Iterator[None]:
        began = _now(device)
        yield
        spent[name] += _now(device) - began

    with torch.inference_mode(), autocast(config.runtime.precision, device), probed(model, probe):
        began = _now(device)
        model.see(batch)
        whole = _now(device) - began
    spent[OTHER] = whole - sum(spent.values())
    return {name: seconds / len(batch) for name, seconds in spent.items()}


def language_inputs(config: RunConfig) -> Tensor:
    """What the language model reads of one image and its text: [1, V + L, D_llm] of noise."""
    tokens = llm_tokens(largest_canvas(config), config) + text_tokens(config.language)
    return torch.randn(1, tokens, config.language.width, device=device_of(config))


def language_pass(language: PreTrainedModel, config: RunConfig) -> Callable[[], Seconds]:
    """A call that times the prefill of one image with its text, and one new token after it: layers and head apart, because a model
    that does not fit is measured with fewer layers."""
    device, prompt = device_of(config), language_inputs(config)
    _, tokens, width = prompt.shape
    keys = language.config.num_key_value_heads
    cache_name = CausalReader(language).cache_name

    @torch.inference_mode()
    def run() -> Seconds:
        with autocast(config.runtime.precision, device), attention_backend(config.runtime.attention):
            kind = PRODUCTS[config.runtime.precision]
            cache = DynamicCache(config=language.config)
            for layer in range(language.config.num_hidden_layers):
                cached = torch.randn(2, 1, keys, tokens, width // config.language.heads, device=device, dtype=kind)
                cache.update(cached[0], cached[1], layer)
            start = _now(device)
            hidden = language.model(inputs_embeds=prompt, use_cache=False).last_hidden_state
            read = _now(device)
            language.lm_head(hidden[:, -text_tokens(config.language) :])
            prefilled = _now(device)
            for _ in range(TOKENS_IN_A_ROW):
                hidden = language.model(inputs_embeds=prompt[:, :1], use_cache=True, **{cache_name: cache}).last_hidden_state
            grown = _now(device)
            language.lm_head(hidden)
            end = _now(device)
        return {
            LANGUAGE: read - start,
            HEAD: prefilled - read,
            NEW_TOKEN: (grown - prefilled) / TOKENS_IN_A_ROW,
            TOKEN_HEAD: end - grown,
        }

    return run


def matmul_pass(config: RunConfig) -> Callable[[], Seconds]:
    """A call that times the product of two square matrices in the run's precision: {"flops_per_second": the best of three}."""
    device = device_of(config)
    kind = PRODUCTS[config.runtime.precision]
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=kind) for _ in range(2))

    @torch.inference_mode()
    def run() -> Seconds:
        taken = []
        for _ in range(3):
            began = _now(device)
            left @ right
            taken.append(_now(device) - began)
        return {"flops_per_second": 2 * SIDE**3 / min(taken)}

    return run


def _now(device: str) -> float:
    """The clock, after what was asked of the GPU is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
