"""Closed-form parameters and FLOPs of a run, part by part, torch-free: for planning, and to check measurements by."""

from __future__ import annotations

from fila_lab.config.counts import detail_size, llm_tokens, tiles_of
from fila_lab.config.fusion_points import feature_index, resolve_fusion_points
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_pages import page_size
from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.config.tiling import seen_canvas, seen_canvases
from fila_lab.cost.closed.fusion import fusion_point_costs
from fila_lab.cost.closed.parts import Cost, convnext_cost, language_cost, lora_cost, projector_cost, text_tokens, vit_cost, vit_layer_cost

PROCESS_BYTES = 0.7e9
"""A Python process with torch loaded, measured on Linux."""

COMPONENTS = ("vit", "convnext", "fusion", "projector", "language")


def component_costs(config: RunConfig, canvas: Size | None = None, image: Size | None = None) -> dict[str, Cost]:
    """Part -> cost of one image on `canvas`, as the ViT sees it (default: the mean over a page for each of `geometry.canvases`). An arm
    that looks at no map has no ConvNeXt. image: its (width, height), pixels, which tells what dropped padding saves; by default nothing."""
    if canvas is None:
        sizes = config.geometry.canvases
        each = [component_costs(config, seen_canvas(config, size), page_size(config, size)) for size in sizes]
        return {name: _mean([costs[name] for costs in each]) for name in COMPONENTS}
    geometry = config.geometry
    return {
        "vit": vit_cost(config.vit, geometry).times(tiles_of(canvas, geometry) + 1) if has_vit(config) else Cost(0, 0),
        "convnext": convnext_cost(config.convnext, detail_size(canvas, geometry)) if has_convnext(config) else Cost(0, 0),
        "fusion": sum(fusion_point_costs(config, canvas).values(), Cost(0, 0)),
        "projector": projector_cost(config, canvas, image),
        "language": language_cost(config.language, llm_tokens(canvas, config, image) + text_tokens(config.language)),
    }


def _mean(costs: list[Cost]) -> Cost:
    total = sum(costs, Cost(0, 0)).times(1 / len(costs))
    return Cost(costs[0].parameters, total.flops, total.inputs, total.weights)


def forward_flops(config: RunConfig) -> float:
    """FLOPs of reading one image and its question, the whole model."""
    return sum(cost.flops for cost in component_costs(config).values())


def training_flops(config: RunConfig, canvas: Size | None = None, cached_features: bool = False, image: Size | None = None) -> float:
    """FLOPs of one training item. `cached_features` leaves the frozen ConvNeXt out; image as in `component_costs`."""
    return sum(component_training_flops(config, canvas, cached_features, image).values())


def component_training_flops(
    config: RunConfig, canvas: Size | None = None, cached_features: bool = False, image: Size | None = None
) -> dict[str, float]:
    """Part -> FLOPs of one training item: forward, gradients of inputs where a gradient must pass, gradients of weights where they train.

    A frozen ViT passes gradients from its features back to the first fusion point. With runtime.checkpointing the layers a gradient passes
    run forward twice, but for their last products.
    """
    costs = component_costs(config, canvas, image)
    trained = {name: cost.flops + cost.inputs + cost.weights for name, cost in costs.items()}
    layer, tile = vit_layer_cost(config.vit, config.geometry), vit_cost(config.vit, config.geometry)
    if not config.vit.trainable:
        trained["vit"] = costs["vit"].flops * (1 + passed_layers(config) * layer.inputs / tile.flops)
    if not config.convnext.trainable:
        trained["convnext"] = 0.0 if cached_features else costs["convnext"].flops
    if not config.language.weights_train:
        trained["language"] = costs["language"].flops + costs["language"].inputs + _lora_weights(config, canvas, image)
    if config.runtime.checkpointing:
        vit_last, language_last = _last_products(config, canvas, image)
        trained["vit"] += costs["vit"].flops / tile.flops * passed_layers(config) * (layer.flops - vit_last)
        trained["language"] += costs["language"].flops - language_cost(config.language, 0).flops - config.language.layers * language_last
    return trained


def _last_products(config: RunConfig, canvas: Size | None, image: Size | None) -> tuple[float, float]:
    """FLOPs of a layer's last product, of the ViT (a tile) and of the language model: recomputation stops before it, for the backward pass
    needs what it reads and not what it gives."""
    vit, language, geometry = config.vit, config.language, config.geometry
    tokens = _mean_tokens(config, canvas, image)
    return 2 * (geometry.grid**2 + 1) * int(vit.width * vit.mlp_ratio) * vit.width, 2 * tokens * language.intermediate * language.width


def _lora_weights(config: RunConfig, canvas: Size | None, image: Size | None) -> float:
    """FLOPs of the gradients of the adapters' weights."""
    return lora_cost(config.language, _mean_tokens(config, canvas, image)).weights


def _mean_tokens(config: RunConfig, canvas: Size | None, image: Size | None) -> float:
    """What the language model reads of one image with its text: on a canvas, or the mean over a page for each of `geometry.canvases`."""
    canvases = config.geometry.canvases
    pages = [(seen_canvas(config, size), page_size(config, size)) for size in canvases] if canvas is None else [(canvas, image)]
    return sum(llm_tokens(size, config, page) + text_tokens(config.language) for size, page in pages) / len(pages)


def passed_layers(config: RunConfig) -> int:
    """Layers of the ViT that a gradient passes: all that run where it trains, those after the first fusion point where it is frozen."""
    if not has_vit(config):
        return 0
    used = feature_index(config.vit.feature_layer, config.vit.layers)
    if config.vit.trainable:
        return used
    if config.fusion.name == "none":
        return 0
    return used - resolve_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer)[0][1]


def feature_bytes(config: RunConfig, bytes_per_value: int = 2) -> float:
    """Bytes of one image's four detail maps in the feature cache, mean over a page for each of `geometry.canvases`."""
    sizes = [detail_size(canvas, config.geometry) for canvas in seen_canvases(config)]
    values = sum((width >> s) * (height >> s) * dim for width, height in sizes for s, dim in enumerate(config.convnext.dims, start=2))
    return bytes_per_value * values / len(sizes)


def item_bytes(config: RunConfig) -> float:
    """Bytes of one item's pixels in the pool (tiles, overview, detail input where there is one; uint8), mean over a page for each of
    `geometry.canvases`."""
    geometry = config.geometry
    total = 0
    for canvas in seen_canvases(config):
        detail = detail_size(canvas, geometry) if geometry.has_detail else (0, 0)
        total += 3 * ((tiles_of(canvas, geometry) + 1) * geometry.tile**2 + detail[0] * detail[1])
    return total / len(geometry.canvases)
