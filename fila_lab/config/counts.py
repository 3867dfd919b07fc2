"""How many tiles, pixels and tokens a run's geometry makes of a canvas, and images of a chunk. Torch-free."""

from __future__ import annotations

from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.run import RunConfig
from fila_lab.config.tiling import TileLayout, tile_layout

STRIDES = (4, 8, 16, 32)
"""Detail pixels a cell side, at the four stages of a ConvNeXt."""
FEATURE_CHUNK = 32
"""Images whose detail maps a cell computes at a time for the cache; part of the key, for it can change the last bit."""


def tiles_of(canvas: Size, geometry: GeometryConfig) -> int:
    """Tiles of a canvas, those that overlap and those of all grids included, the overview not counted."""
    return tile_layout(geometry, canvas).tiles


def detail_size(canvas: Size, geometry: GeometryConfig) -> Size:
    """(width, height) of the detail input, pixels: 32k a tile, or the fixed square."""
    if geometry.whole_image is not None:
        return geometry.whole_image, geometry.whole_image
    side = STRIDES[-1] * geometry.cells_a_side
    return canvas[0] // geometry.tile * side, canvas[1] // geometry.tile * side


def read_layout(canvas: Size, config: RunConfig, image: Size | None = None) -> TileLayout:
    """The layout of the tokens that the language model reads, behind the projector.

    image: its (width, height), pixels, where padding is dropped; without it nothing is.
    """
    return tile_layout(config.geometry, canvas, image).merged(config.projector.side)


def vision_tokens(canvas: Size, config: RunConfig, image: Size | None = None) -> int:
    """Tokens the language model reads for one image: overview, canvas (each position once a grid), one separator a row of tokens."""
    layout = read_layout(canvas, config, image)
    return layout.grid**2 + sum((across + 1) * down for across, down in (one.handed for one in layout.grids))


def handoff_tokens(canvas: Size, config: RunConfig, image: Size | None = None) -> int:
    """Detail tokens the language model reads behind them: one a canvas token that it reads, where fusion.handoff appends them."""
    across, down = read_layout(canvas, config, image).handed
    return across * down if config.fusion.handoff == "append" else 0


def llm_tokens(canvas: Size, config: RunConfig, image: Size | None = None) -> int:
    """All that the language model reads of one image; `image` as in `vision_tokens`."""
    return vision_tokens(canvas, config, image) + handoff_tokens(canvas, config, image)
