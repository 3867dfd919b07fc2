"""The study's image sizes: which canvases its pages lie on and how often, and costs averaged over them. Torch-free."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.run import GeometryConfig, RunConfig, Size
from fila_lab.config.tiling import has_aspect, page_size, seen_canvas
from fila_lab.cost.closed.components import component_costs, training_flops
from fila_lab.cost.closed.parts import Cost


def page_shares(geometry: GeometryConfig, seam: SeamConfig) -> dict[Size, float]:
    """Canvas (as in `geometry.canvases`) -> share of the seam suite's pages, which are drawn by the number of tiles.

    Canvases that permit no triplet, or lie outside `data.seam.page_aspect`, have no pages (a test holds this equal to
    `fila_lab.data.seam.SeamSuite`). Where none permits one, all count: the suite refuses them with its reason.
    """
    canvases = [canvas for canvas in geometry.canvases if _permits(canvas, geometry) and has_aspect(canvas, seam)] or geometry.canvases
    total = sum(width * height for width, height in canvases)
    return {(width, height): width * height / total for width, height in canvases}


def page_costs(config: RunConfig) -> dict[str, Cost]:
    """Part -> its parameters, and its FLOPs for one page and its question (prefill included, nothing cached), mean over the pages."""
    each = [(share, component_costs(config, canvas, page)) for canvas, page, share in _seen(config)]
    return {name: Cost(cost.parameters, sum(share * costs[name].flops for share, costs in each)) for name, cost in each[0][1].items()}


def page_training_flops(config: RunConfig) -> float:
    """FLOPs of one training item, nothing cached, mean over the pages."""
    return sum(share * training_flops(config, canvas, image=page) for canvas, page, share in _seen(config))


def _seen(config: RunConfig) -> list[tuple[Size, Size, float]]:
    """(canvas as the ViT sees it, the page's size in px, share)."""
    shares = page_shares(config.geometry, config.data.seam)
    return [(seen_canvas(config, canvas), page_size(config, canvas), share) for canvas, share in shares.items()]


def _permits(canvas: Size, geometry: GeometryConfig) -> bool:
    """Whether pages of this aspect are put on this canvas, and one of its axes has a triplet."""
    larger = any(other[0] > canvas[0] and other[1] > canvas[1] for other in geometry.canvases)
    return not larger and any(_has_sham_place(side // geometry.tile, geometry.grid) for side in canvas)


def _has_sham_place(tiles: int, grid: int) -> bool:
    """Whether a step of a multiple of `tiles` patches takes a target from a seam to a patch border that is none, on the page."""
    length = tiles * grid
    borders = (seam + step for seam in range(grid, length, grid) for step in range(-length, length, tiles))
    return any(0 < border < length and border % grid for border in borders)
