"""Closed-form costs of the fusion at each fusion point, torch-free: parameters and FLOPs, strategy by strategy."""

from __future__ import annotations

import math
from collections.abc import Callable

from fila_lab.config.counts import tiles_of
from fila_lab.config.fusion_points import resolve_fusion_points
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_words import ORACLE_CHANNELS
from fila_lab.config.strategies import map_trains, named_factors
from fila_lab.config.tiling import tile_layout
from fila_lab.cost.closed.parts import Cost, attention, product
from fila_lab.cost.closed.rivals import shifted_window, slice_restore, tile_summary
from fila_lab.cost.closed.site import Site


def fusion_point_sites(config: RunConfig, canvas: Size) -> dict[tuple[int, int], Site]:
    """(stage, after layer) -> what that fusion point costs by, in the order in which they run."""
    fusion, geometry = config.fusion, config.geometry
    if fusion.name == "none":
        return {}
    oracle = fusion.control == "oracle_map"
    stages = [(ORACLE_CHANNELS if oracle else dim, window_cells(geometry, stage)) for stage, dim in enumerate(config.convnext.dims, 1)]
    layout, tiles = tile_layout(geometry, canvas), tiles_of(canvas, geometry) + 1
    sites: dict[tuple[int, int], Site] = {}
    changed: set[int] = set()
    for stage, layer in resolve_fusion_points(fusion.depth, config.vit.layers, config.vit.feature_layer):
        moving = bool(sites) or config.vit.trainable
        seen = map_trains(config) or stage in changed
        sites[stage, layer] = Site(config, *stages[stage - 1], tuple(stages[stage:]), tiles, layout.rows, layout.cols, moving, seen)
        if fusion.name == "bidirectional":
            changed.add(stage)
    return sites


def fusion_point_costs(config: RunConfig, canvas: Size) -> dict[tuple[int, int], Cost]:
    """(stage, after layer) -> cost of the fusion there, overview included. Strategies from other packages count as `concat`.

    What is normalised but not projected (pooled or unfolded cells of a frozen ConvNeXt) needs no gradient, nor do tokens that nothing
    trainable has touched yet.
    """
    form = WHOLE_FORMS.get(config.fusion.name, _factorised)
    return {pair: form(site) for pair, site in fusion_point_sites(config, canvas).items()}


def window_cells(geometry: GeometryConfig, stage: int) -> int:
    """Detail cells a token reads at a stage."""
    return max(1, math.floor((geometry.cells_a_side << (4 - stage)) / geometry.grid + 0.5)) ** 2


def _factorised(site: Site) -> Cost:
    """Read, mix, gate, out."""
    factors = named_factors(site.config.fusion)
    assert factors is not None
    kind, combine, gated = factors
    width, hidden, tokens = site.width, site.hidden, site.tokens
    read, reading = AGGREGATE_FORMS[kind](site)
    read_moves = kind.startswith("attend") or site.seen
    mix = product((width + read) * hidden if combine == "concat" else read * hidden, tokens, hidden)
    total = reading + mix.asked(read_moves or (site.moving and combine == "concat")) + product(hidden * width, tokens, width)
    if gated:
        total += product((width + read) * width, tokens, width).asked(read_moves or site.moving)
    return total


def _attend(site: Site) -> tuple[int, Cost]:
    """Over the token's own window."""
    if site.window == 1:
        return site.hidden, product(site.channels * site.hidden, site.tokens, site.hidden).asked(site.seen)
    return _attend_windows(site, site.window)


def _attend_windows(site: Site, cells: int) -> tuple[int, Cost]:
    """Over `cells` cells a token: keys are folded into the query, values applied last; each cell has a learned place."""
    hidden, channels, tokens, heads = site.hidden, site.channels, site.tokens, site.config.fusion.heads
    query, key = product(site.width * hidden, tokens, hidden), product(channels * hidden, tokens)
    each = 2 * tokens * heads * cells * channels  # of the queries by cells, queries by places, shares by cells, shares by places
    matched = Cost(cells * channels, 4 * each, 4 * each + (2 * each if site.seen else 0), 2 * each)
    return hidden, product(channels * hidden, tokens, hidden) + query.asked(site.moving) + key + matched


def _attend_tile(site: Site) -> tuple[int, Cost]:
    """Over the tile's means, which a tile's tokens share: keys and values are projected once, and have a place relative to the token."""
    places = Cost(_offset_biases(site), 0)
    return site.hidden, _attended(site, site.channels, site.seen, site.moving, site.place) + places


def _attend_tokens(site: Site) -> tuple[int, Cost]:
    """Over all of an image's tokens, masked: places relative to the token on the canvas, and under the overview."""
    places = Cost(((4 * site.config.geometry.grid - 1) ** 2 + site.offsets) * site.config.fusion.heads, 0)
    return site.hidden, _attended(site, site.width, site.moving, site.moving, site.tokens) + places


def _offset_biases(site: Site) -> int:
    """Of attention within a tile, a head and offset each; a tile of one token has nothing to choose."""
    return site.offsets * site.config.fusion.heads if site.place > 1 else 0


def _attended(site: Site, channels: int, seen: bool, moving: bool, keys: int) -> Cost:
    """Tokens attend to `keys` keys made of as many things of `channels` channels as there are tokens; one leaves nothing to choose."""
    hidden, tokens = site.hidden, site.tokens
    value = product(channels * hidden, tokens, hidden)
    if keys == 1:
        return value.asked(seen)
    query, key = product(site.width * hidden, tokens, hidden), product(channels * hidden, tokens)
    return query.asked(moving) + key.asked(seen) + value.asked(seen) + attention(tokens, keys, hidden)


AGGREGATE_FORMS: dict[str, Callable[[Site], tuple[int, Cost]]] = {
    "pool": lambda site: (site.channels, Cost(0, 0)),
    "unfold": lambda site: (site.channels * site.window, Cost(0, 0)),
    "attend": _attend,
    "attend_tile": _attend_tile,
    "attend_neighbours": lambda site: _attend_windows(site, 9 * site.window),
    "attend_tokens": _attend_tokens,
}
"""Aggregate -> (width of what a token reads, cost)."""


def _llava_hr(site: Site) -> Cost:
    """Two products over cells and tokens, a depth-wise convolution and a product over tokens, a gate a tile; a scale of each channel."""
    width, hidden, tokens, tiles = site.width, site.hidden, site.tokens, site.tiles
    kernel = min(7, 2 * site.config.geometry.grid - 1)
    slow = product(site.channels * hidden, tokens * site.window, hidden).asked(site.seen) + product(hidden * width, tokens, width)
    fast = product(kernel**2 * width, tokens, width).asked(site.moving) + product(width**2, tokens, width)
    half = width // 2
    gate = product(2 * width * half, tiles, half) + product(half, tiles, 1)
    return slow + fast + (Cost(0, 0) if site.config.fusion.gate is False else gate) + Cost(width, 0)


def _mini_gemini(site: Site) -> Cost:
    """One head over the window's cells, of the stage and all coarser ones; norms with gain and bias, the keys' with a gain alone."""
    width, hidden, tokens = site.width, site.hidden, site.tokens
    stages = ((site.channels, site.window), *site.coarser)
    channels = sum(count for count, _ in stages)
    value = product(channels * width, tokens, width) + Cost(2 * channels, 0)
    if site.window == 1:
        return value
    query, key = product(width * hidden, tokens, hidden) + Cost(2 * width, 0), product(channels * hidden, tokens) + Cost(channels, 0)
    each = 2 * tokens * sum(count * cells for count, cells in stages)  # of the queries by cells, of the shares by cells
    return value + query + key + Cost(0, 2 * each, 2 * each + (2 * each if site.seen else 0))


def _bidirectional(site: Site) -> Cost:
    """Cells' means attend to tokens and are changed, tokens attend to what came of it; both relative to place."""
    width, hidden, tokens, channels = site.width, site.hidden, site.tokens, site.channels
    mix = product(hidden**2, tokens, hidden)
    cells = product(width * hidden, tokens, hidden).asked(site.moving)
    if site.place > 1:
        cells += product(channels * hidden, tokens, hidden).asked(site.seen) + product(width * hidden, tokens).asked(site.moving)
        cells += attention(tokens, site.place, hidden)
    cells += mix + product(hidden * channels, tokens, channels)
    tokens_ = _attended(site, channels, True, site.moving, site.place) + mix + product(hidden * width, tokens, width)
    return cells + tokens_ + Cost(2 * _offset_biases(site), 0)


WHOLE_FORMS: dict[str, Callable[[Site], Cost]] = {
    "llava_hr": _llava_hr,
    "mini_gemini": _mini_gemini,
    "bidirectional": _bidirectional,
    "slice_restore": slice_restore,
    "shifted_window": shifted_window,
    "tile_summary": tile_summary,
}
"""Strategy that is no point of the factors -> its cost."""
