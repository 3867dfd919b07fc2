"""An image's tokens do not depend on what else is in the batch, in which order, or whether anything is: every strategy, every control."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch

from fila_lab.config.fusion import FusionConfig
from fila_lab.config.strategies import FUSIONS
from fila_lab.modeling import VisionBatch, build_model
from fila_lab.modeling.detail import random_turns

CONTROLS = [c for c in get_args(get_args(FusionConfig.model_fields["control"].annotation)[0]) if c]
ARMS = [(name, {}) for name in FUSIONS] + [("concat", {"control": control}) for control in CONTROLS]
ARMS += [("cross_attention", {"control": "random_window"}), ("bidirectional", {"control": "random_window"})]
ARMS += [("none", {"handoff": "append"}), ("none", {"handoff": "replace"}), ("concat", {"control": "random_window", "handoff": "append"})]


def chosen(batch: VisionBatch, rows: list[int]) -> VisionBatch:
    parts = {name: getattr(batch, name)[rows] for name in ("tiles", "overview", "input_ids", "prompt_lengths")}
    return replace(batch, **parts, maps=[m[rows] for m in batch.maps], oracle=[m[rows] for m in batch.oracle])


@pytest.mark.parametrize(("name", "fusion"), ARMS, ids=["-".join([name, *fusion.values()]) for name, fusion in ARMS])
def test_an_images_tokens_are_its_own(make_config, make_batch, name: str, fusion: dict) -> None:
    batch, _ = make_batch(images=5, rows=2, cols=2, k=4)
    model = build_model(make_config(name, k=4, **fusion)).double().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        whole = model.see(batch)
        for rows in ([0], [3], [4, 3, 2, 1, 0], [2, 4], [1, 1, 0, 3]):
            torch.testing.assert_close(model.see(chosen(batch, rows)), whole[rows], rtol=1e-6, atol=1e-6)


def test_random_window_turns_are_an_images_own_spread_evenly_and_follow_the_seed() -> None:
    """Not one fixed rearrangement: every distance comes about equally often, even among pages that differ in one pixel."""
    pixels = torch.zeros(600, 6, 6, 3, dtype=torch.uint8)
    pixels.view(600, -1)[torch.arange(600), torch.arange(600) % 108] = (1 + torch.arange(600) // 3).byte()
    turns = random_turns(pixels, 0)
    assert turns.min() >= 0
    assert torch.equal(turns[[5, 77]], random_turns(pixels[[5, 77]], 0))
    assert not torch.equal(turns, random_turns(pixels, 1))
    for places in (2, 3, 4, 6):
        counts = (turns % places).bincount(minlength=places)
        assert (counts - 600 / places).abs().max() < 5 * (600 / places) ** 0.5
