"""Every strategy and control in every floating type, under autocast, and its gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from fila_lab.config.fusion import FusionConfig
from fila_lab.config.strategies import FUSIONS, needs_map
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import HybridEncoder, build_convnext, build_model, build_vit
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import create

CONTROLS = [c for c in get_args(get_args(FusionConfig.model_fields["control"].annotation)[0]) if c]
ARMS = [(name, {}) for name in FUSIONS] + [("concat", {"control": control}) for control in CONTROLS]
ARMS += [
    ("concat", {"aggregate": "unfold"}),
    ("none", {"handoff": "append"}),
    ("none", {"handoff": "replace"}),
    ("cross_attention", {"control": "oracle_map"}),
]
ARMS += [("concat", {"resample": operator}) for operator in ("bilinear", "nearest")]
IDS = ["-".join([name, *fusion.values()]) for name, fusion in ARMS]
BOTH_WAYS = ("concat", "cross_attention", "bidirectional")
"""Whose arms are tried in more ways than one by quick tests: means, windows, and maps that are written to."""


def cases(quick: Callable[[str, dict, Any], bool], ways: Sequence[Any]) -> list[Any]:
    """Every arm in each way; those that are not `quick` (name, its further fields, way) take longer than they tell."""
    return [
        pytest.param(name, fusion, way, id=f"{label}-{way}", marks=() if quick(name, fusion, way) else pytest.mark.slow)
        for way in ways
        for (name, fusion), label in zip(ARMS, IDS, strict=True)
    ]


TOLERANCE = {torch.float64: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.15}
"""From exact to coarse: what one type rounds away is gone for those after it."""


def woken(config):
    """The arm's model in float32, its zero factors taken away."""
    model = build_model(config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize(("name", "fusion", "k"), cases(lambda name, fusion, k: k == 4 or (name in BOTH_WAYS and not fusion), (3, 4)))
def test_every_arm_says_the_same_in_every_floating_type(make_config, make_batch, name: str, fusion: dict, k: int) -> None:
    model, (batch, labels) = woken(make_config(name, k=k, **fusion)), make_batch(k=k)
    with torch.no_grad():
        plain = model.see(batch)
        assert plain.dtype is torch.float32
        for dtype, tolerance in TOLERANCE.items():
            seen = model.to(dtype).see(batch)
            assert seen.dtype is dtype
            assert (seen.double() - plain.double()).norm() < tolerance * plain.norm(), dtype
            assert model(batch, labels).loss.isfinite()
            model.float()


TRAINED = [
    pytest.param(name, fusion, id=label, marks=pytest.mark.slow if {"control", "resample"} & set(fusion) else ())
    for (name, fusion), label in zip(ARMS, IDS, strict=True)
]
"""Controls and operators change what the tower's maps are, not what leads back through the fusion: quick tests do without them."""


@pytest.mark.parametrize(("name", "fusion"), TRAINED)
def test_every_arm_trains_in_every_floating_type_and_from_pixels(make_config, make_batch, name: str, fusion: dict) -> None:
    config, (batch, _) = make_config(name, k=4, **fusion), make_batch(images=2, k=4)
    detail = torch.randint(0, 256, (2, 128, 256, 3), dtype=torch.uint8) if needs_map(config) else None
    model = HybridEncoder(config, build_vit(config), build_convnext(config))
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        tokens = model.to(dtype)(replace(batch, maps=None, detail=detail))
        assert tokens.dtype is dtype
        if model.fusion_points:
            tokens.float().square().sum().backward()
            assert all(p.grad is None or (p.grad.dtype is dtype and p.grad.isfinite().all()) for p in model.fusions.parameters())
            assert any(p.grad is not None and p.grad.any() for p in model.fusions.parameters())


def bfloat16_first(name: str, fusion: dict, dtype: torch.dtype) -> bool:
    return dtype is torch.bfloat16 or (name in BOTH_WAYS and not fusion)


@pytest.mark.parametrize(("name", "fusion", "dtype"), cases(bfloat16_first, (torch.bfloat16, torch.float16)))
def test_autocast_rounds_products_and_leaves_tokens_float32(make_config, make_batch, name: str, fusion: dict, dtype: torch.dtype) -> None:
    config, (batch, _) = make_config(name, k=4, **fusion), make_batch(k=4)
    encoder = woken(config).encoder
    with torch.no_grad():
        plain = encoder(batch)
        with torch.autocast("cpu", dtype):
            cast = encoder(batch)
    assert cast.dtype is torch.float32
    assert (cast - plain).norm() < 0.1 * plain.norm()


SIZES = [(1, 1), (2, 2), (3, 2)]
"""(cells a side, tokens a side): one of each, whole windows, and cells that do not divide."""
MORE_SIZES = [(2, 1), (3, 1), (1, 2)]


@pytest.mark.parametrize(("cells", "grid"), [*SIZES, *(pytest.param(*size, marks=pytest.mark.slow) for size in MORE_SIZES)])
@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_are_those_of_finite_differences(name: str, cells: int, grid: int) -> None:
    """In float64, of the tokens, of the whole canvas's map (through `area`, splitting and windows) and of every parameter."""
    if name == "shifted_window" and grid == 1:
        pytest.skip("tiles of one token have no middle")
    torch.manual_seed(0)
    spec = {"token_width": 4, "detail_width": 3, "grid": grid, "hidden": 4, "heads": 2, "coarser": ((2, cells),)}
    fusion = create(name, cells=cells * grid - (grid > 1 and cells > 1), **spec).double()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=0.5)
    side = cells * grid - (grid > 1 and cells > 1)
    tokens = torch.randn(3, grid**2, 4, dtype=torch.float64, requires_grad=True)
    finest, coarse = (torch.randn(1, c, n, 2 * n, dtype=torch.float64, requires_grad=True) for c, n in ((3, side), (2, cells)))
    names, weights = zip(*fusion.named_parameters(), strict=True) if name != "none" else ((), ())

    def fused(tokens, finest, coarse, *weights):
        maps = DetailMaps([finest, coarse], [side, cells], TileLayout.side_by_side(grid, 1, 2))
        given = (tokens, maps.read(fusion.reads, 1, torch.float64), maps.context(1))
        out = torch.func.functional_call(fusion, dict(zip(names, weights, strict=True)), given)
        return out.tokens if out.detail is None else (out.tokens, out.detail)

    assert torch.autograd.gradcheck(fused, (tokens, finest, coarse, *weights), fast_mode=True)
