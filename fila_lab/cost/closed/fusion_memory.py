"""What each fusion keeps of an image until the backward pass, in closed form, torch-free: about, not exactly."""

from __future__ import annotations

from collections.abc import Callable

from fila_lab.config.fusion_options import ShiftedWindowOptions, SliceRestoreOptions, TileSummaryOptions
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import named_factors
from fila_lab.config.windows import axis_windows
from fila_lab.cost.closed.fusion import fusion_point_sites
from fila_lab.cost.closed.site import Site


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


def _slice_restore(site: Site) -> float:
    options = SliceRestoreOptions.model_validate(site.config.fusion.options)
    kept = (-3.45 if site.config.fusion.reach == "canvas" else -4.25) * site.width
    if options.parts == "local":
        return kept
    cells = options.pooled_side(site.config.geometry.grid) ** 2
    canvas = cells * (site.tiles - 1)
    keys = cells if site.config.fusion.reach == "tile" else (canvas * canvas + cells * cells) / (canvas + cells)
    return cells / site.place * (4 * site.hidden + 3 * site.width + _heads(site) * keys) + kept


def _shifted_window(site: Site) -> float:
    fusion, grid = site.config.fusion, site.config.geometry.grid
    options, whole = ShiftedWindowOptions.model_validate(fusion.options), fusion.reach == "canvas"
    down, across = (axis_windows(options, tiles, grid, whole) for tiles in (site.rows, site.cols))
    slots = down.count * across.count * down.width**2 / (site.tokens - site.place)
    each = 1.8 * site.width + 7.2 * site.hidden + slots * (4 * site.hidden + fusion.heads * down.width**2)
    return each * (1 - 1 / site.tiles) - 7 * site.width


def _tile_summary(site: Site) -> float:
    count = TileSummaryOptions.model_validate(site.config.fusion.options).summaries
    shares = _heads(site) * count * (2 + site.tiles * count / site.place)
    return (3.9 + 11.3 * count / site.place) * site.hidden + shares - 4.1 * site.width


WHOLE_KEPT: dict[str, Callable[[Site], float]] = {
    "llava_hr": lambda site: site.window * (site.channels + site.hidden),
    "mini_gemini": _mini_gemini,
    "bidirectional": lambda site: 8 * site.hidden + 2 * site.channels + 2 * _heads(site) * site.place,
    "slice_restore": _slice_restore,
    "shifted_window": _shifted_window,
    "tile_summary": _tile_summary,
}
"""The same of strategies that are no point of the factors."""
