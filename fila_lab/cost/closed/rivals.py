"""Closed-form costs of the strategies that mend seams without a detail map, torch-free."""

from __future__ import annotations

from fila_lab.config.fusion_options import DIRECTIONS, ShiftedWindowOptions, SliceRestoreOptions, TileSummaryOptions
from fila_lab.config.windows import axis_windows
from fila_lab.cost.closed.parts import Cost, attention, product
from fila_lab.cost.closed.site import Site


def slice_restore(site: Site) -> Cost:
    """A depth-wise convolution over all tokens; attention among the pooled cells of the canvas and of the overview, or of each tile."""
    options = SliceRestoreOptions.model_validate(site.config.fusion.options)
    width, hidden, total = site.width, site.hidden, Cost(site.width, 0)  # a scale of each channel
    if options.parts != "pooled":
        total += product(9 * width, site.tokens, width).asked(site.moving)
    if options.parts != "local":
        cells = options.pooled_side(site.config.geometry.grid) ** 2
        alone = site.tiles if site.config.fusion.reach == "tile" else 1
        joined = cells * (site.tiles - alone)
        seen, key = product(width * hidden, site.tiles * cells, hidden), product(width * hidden, site.tiles * cells)
        total += (seen + seen + key).asked(site.moving) + product(hidden * width, site.tiles * cells, width)
        total += attention(alone * cells, cells, hidden) + attention(joined, joined, hidden)
    return total


def shifted_window(site: Site) -> Cost:
    """Of the canvas's tokens: into the hidden width, attention within windows (empty slots among them), two layers; a bias a place."""
    config, options = site.config, ShiftedWindowOptions.model_validate(site.config.fusion.options)
    whole = config.fusion.reach == "canvas"
    down, across = (axis_windows(options, tiles, config.geometry.grid, whole) for tiles in (site.rows, site.cols))
    width, hidden, tokens, slots = site.width, site.hidden, site.tokens - site.place, down.width**2
    each, key = product(hidden**2, tokens, hidden), product(hidden**2, tokens)
    mixed = each + key + each + each + attention(down.count * across.count * slots, slots, hidden)
    layers = product(2 * hidden**2, tokens, 2 * hidden) + product(2 * hidden * width, tokens, width)
    places = Cost((2 * down.width - 1) ** 2 * config.fusion.heads, 0)
    return product(width * hidden, tokens).asked(site.moving) + mixed + layers + places


def tile_summary(site: Site) -> Cost:
    """Registers over a tile's tokens, summaries over all summaries (masked), tokens over their tile's; a bias a direction. A lone summary
    says the same to all tokens of its tile."""
    count = TileSummaryOptions.model_validate(site.config.fusion.options).summaries
    width, hidden, tokens = site.width, site.hidden, site.tokens
    summaries = site.tiles * count
    total = product(width * hidden, tokens, hidden).asked(site.moving) + Cost(count * hidden, 0)
    if site.place > 1:
        total += product(width * hidden, tokens).asked(site.moving) + attention(summaries, site.place, hidden)
    each, key = product(hidden**2, summaries, hidden), product(hidden**2, summaries)
    total += each + key + each + attention(summaries, summaries, hidden) + Cost(DIRECTIONS * site.config.fusion.heads, 0)
    if count > 1:
        total += product(width * hidden, tokens, hidden).asked(site.moving) + key + attention(tokens, count, hidden)
    return total + each + product(hidden * width, tokens if count > 1 else summaries, width)
