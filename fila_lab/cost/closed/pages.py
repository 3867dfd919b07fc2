"""Costs averaged over the sizes of the seam suite's pages. Torch-free."""

from __future__ import annotations

from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_pages import page_shares, page_size
from fila_lab.config.tiling import seen_canvas
from fila_lab.cost.closed.components import component_costs, training_flops
from fila_lab.cost.closed.parts import Cost


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
