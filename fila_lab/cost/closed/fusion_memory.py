"""What each fusion keeps of an image until the backward pass, in closed form, torch-free: about, not exactly."""

from __future__ import annotations

from collections.abc import Callable

from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import named_factors
from fila_lab.cost.closed.fusion import Site, fusion_point_sites


def kept_values(config: RunConfig, canvas: Size) -> float:
    """Values (of the products' type) that all fusion points keep of one image."""
    return sum(site.tokens * _kept(site) for site in fusion_point_sites(config, canvas).values())


def _kept(site: Site) -> float:
    """A token's: about seven values a channel, and the cells it looks at (of a trainable ConvNeXt, two copies in every fusion)."""
    factors = named_factors(site.config.fusion)
    more = WHOLE_KEPT[site.config.fusion.name] if factors is None else AGGREGATES_KEPT.get(factors[0])
    cells = site.window * site.channels
    if more is None:
        return 7 * site.width + (2 if site.config.convnext.trainable else 0) * cells
    return 7 * site.width + more(site) + (cells if site.config.convnext.trainable else 0)


def _heads(site: Site) -> int:
    return site.config.fusion.heads


AGGREGATES_KEPT: dict[str, Callable[[Site], float]] = {
    "attend": lambda site: site.window * site.channels,
    "attend_tile": lambda site: site.channels + site.width + _heads(site) * site.place,
    "attend_neighbours": lambda site: (site.window + 2 * _heads(site)) * site.channels + 9 * _heads(site) * site.window - site.width,
    "attend_tokens": lambda site: 2 * site.width + _heads(site) * site.tokens,
}
"""Aggregate -> values beyond the seven a channel: cells or means, and the shares of softmax. Fitted to what autograd keeps."""


def _mini_gemini(site: Site) -> float:
    stages = ((site.channels, site.window), *site.coarser)
    channels = sum(count for count, _ in stages)
    if site.window == 1:
        return 2 * channels - 7 * site.width
    return sum(count * cells for count, cells in stages) + 3 * channels + 4 * site.window - 4 * site.width


WHOLE_KEPT: dict[str, Callable[[Site], float]] = {
    "llava_hr": lambda site: site.window * (site.channels + site.hidden),
    "mini_gemini": _mini_gemini,
    "bidirectional": lambda site: 8 * site.hidden + 2 * site.channels + 2 * _heads(site) * site.place,
}
"""The same of strategies that are no point of the factors."""
