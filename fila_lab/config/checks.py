"""What one field alone cannot tell: combinations of a run's fields that cannot work, each refused with a remedy."""

from __future__ import annotations

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.counts import llm_tokens
from fila_lab.config.data import CUT_SHARE, SeamConfig
from fila_lab.config.fusion_checks import check_fusion
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.idle_controls import check_control
from fila_lab.config.prompts import check_template
from fila_lab.config.run import RunConfig
from fila_lab.config.runtime_checks import check_runtime
from fila_lab.config.seam_pages import PATCH, check_further_places, check_heights
from fila_lab.config.stage_checks import check_stages
from fila_lab.config.stage_runs import naming, stages_of
from fila_lab.config.strategies import MADE_UP, has_convnext
from fila_lab.config.suites import SEAM
from fila_lab.config.tiling import check_whole_image, seen_canvases, tile_layout
from fila_lab.config.tiling_checks import check_tiling
from fila_lab.config.weights import weights_file, weights_form

MAX_DETAIL_SIDE = 16384
"""Longest side of a detail input, pixels: beyond it a stage-1 map alone takes gigabytes."""


def check_run(config: RunConfig) -> None:
    """Raise ConfigError for the first combination that cannot work."""
    check_fusion(config)
    _check_detail_input(config)
    _check_towers(config)
    _check_geometry(config)
    check_tiling(config)
    check_control(config)
    _check_projector(config)
    check_stages(config)
    for stage in stages_of(config):
        with naming(stage):
            _check_data(stage.run)
            _check_prompt(stage.run)
    _check_truth(config)
    check_runtime(config.runtime)


def _check_detail_input(config: RunConfig) -> None:
    """What the ConvNeXt is shown matters only where one looks; canvas-level pixels are a loss only where the detail input is finer."""
    fusion, geometry = config.fusion, config.geometry
    if fusion.eval_shift is not None and fusion.control != "shifted":
        raise ConfigError(
            f"fusion.eval_shift = {fusion.eval_shift} moves maps at evaluation under the control `shifted`, but fusion.control = "
            f"{fusion.control!r}; set fusion.control=shifted (and fusion.shift, which may be 0), or leave eval_shift out"
        )
    for field, usual in (("detail_resolution", "high"), ("detail_context", "canvas")):
        shown = getattr(fusion, field)
        if shown != usual and not has_convnext(config):
            what = f"fusion.control = {fusion.control!r}" if fusion.control in MADE_UP else f"fusion.name = {fusion.name!r}"
            raise ConfigError(f"fusion.{field} = {shown!r} says what the ConvNeXt sees, but {what} has none; leave it out")
    if fusion.detail_context == "tile" and geometry.tiling.overlap:
        raise ConfigError(
            f"fusion.detail_context = 'tile' cuts the detail input where tiles meet, but with geometry.tiling.overlap = "
            f"{geometry.tiling.overlap} they share pixels; set one of the two back"
        )
    if fusion.detail_resolution == "canvas" and geometry.detail_cells is not None and 32 * geometry.detail_cells <= geometry.tile:
        raise ConfigError(
            f"fusion.detail_resolution = 'canvas': the detail input has {32 * geometry.detail_cells} px a tile, no more than the canvas's "
            f"{geometry.tile}; raise geometry.detail_cells to {geometry.tile // 32 + 1} or more"
        )


def _check_towers(config: RunConfig) -> None:
    vit, language = config.vit, config.language
    if int(vit.width * vit.mlp_ratio) < 1:
        raise ConfigError(
            f"vit.mlp_ratio = {vit.mlp_ratio:g} leaves the ViT's inner layers no channel; choose one of 1 / vit.width or more"
        )
    if vit.width % vit.heads:
        raise ConfigError(f"vit.heads = {vit.heads} does not divide vit.width = {vit.width}; choose a divisor")
    if language.width % language.heads:
        raise ConfigError(f"language.heads = {language.heads} does not divide language.width = {language.width}; choose a divisor")
    if language.kv_heads is not None and language.heads % language.kv_heads:
        raise ConfigError(f"language.kv_heads = {language.kv_heads} does not divide language.heads = {language.heads}; choose a divisor")
    for tower, part in (("vit", vit), ("convnext", config.convnext)):
        if weights_form(tower, part.weights).kind in ("open_clip", "timm") and part.pixels is not None:
            raise ConfigError(
                f"{tower}.pixels are said, but {tower}.weights = {part.weights!r} have their tag's own; leave {tower}.pixels out"
            )


def _check_geometry(config: RunConfig) -> None:
    geometry = config.geometry
    if geometry.vit_scale > 1:
        _check_vit_scale(config)
        return
    if geometry.whole_image is not None:
        if geometry.whole_image > MAX_DETAIL_SIDE:
            raise ConfigError(f"geometry.whole_image = {geometry.whole_image} is more than {MAX_DETAIL_SIDE} px; choose a smaller side")
        check_whole_image(geometry, *geometry.allowed_canvases)
        return
    longest = max(max(canvas) // geometry.tile for canvas in geometry.allowed_canvases)
    side = 32 * geometry.cells_a_side * longest
    if side > MAX_DETAIL_SIDE:
        raise ConfigError(
            f"geometry.detail_cells = {geometry.detail_cells} makes a detail input of {side} px, more than {MAX_DETAIL_SIDE}; "
            f"choose at most {MAX_DETAIL_SIDE // (32 * longest)} (native is {geometry.grid}, one cell a token)"
        )


def _check_vit_scale(config: RunConfig) -> None:
    """A finer ViT is a rival of the detail branch, not its companion: cells and tiles would no longer correspond."""
    scale, patch, page = config.geometry.vit_scale, config.geometry.patch, 32 * config.data.seam.page_scale
    if config.fusion.handoff != "none":
        raise ConfigError(
            f"geometry.vit_scale = {scale} takes the place of the detail branch, but fusion.handoff = {config.fusion.handoff!r} "
            "hands it on; set fusion.handoff=none, or geometry.vit_scale=1"
        )
    if config.fusion.name != "none":
        raise ConfigError(
            f"geometry.vit_scale = {scale} gives the ViT more tiles instead of a detail branch, but fusion.name = {config.fusion.name!r}; "
            "set fusion.name=none, or geometry.vit_scale=1"
        )
    if scale * patch > page:
        raise ConfigError(
            f"geometry.vit_scale = {scale} enlarges a patch to {scale * patch} px, more than the {page} px a page has for it "
            f"(32 x data.seam.page_scale); choose at most {page // patch}, or raise data.seam.page_scale"
        )


def _check_data(config: RunConfig) -> None:
    data, train = config.data, config.train
    drawn = (
        ("train", data.train, data.train_items, data.train_pool),
        ("val", data.validate or data.train, data.val_items, data.val_pool),
    )
    for field, suites, items, pool in drawn:
        generated = all(suite.suite == SEAM for suite in suites)  # files say how many rows they have when they are opened
        if generated and items is not None and items > pool:
            raise ConfigError(f"data.{field}_items = {items} is more than data.{field}_pool = {pool}; draw fewer or enlarge the pool")
    rows = train.batch_size * train.accumulate
    if data.train_items is not None and rows > data.train_items:
        times = f" x train.accumulate = {train.accumulate}" if train.accumulate > 1 else ""
        raise ConfigError(
            f"train.batch_size = {train.batch_size}{times} is more than data.train_items = {data.train_items}; shrink the batch"
        )
    _check_seam(data.seam, config.geometry)
    check_further_places(config)
    known = [name for name, share in data.seam.tasks.items() if share > 0]
    for name in data.train_tasks or () if all(suite.suite == SEAM for suite in data.train) else ():
        if name not in known:
            raise ConfigError(
                f"data.train_tasks: {name!r} is not among data.seam.tasks{did_you_mean(name, known)}; choose {', '.join(known)}"
            )
    if data.train_tasks == ():
        raise ConfigError("data.train_tasks = []: nothing would be trained on; name tasks, or leave it null for all")


def _check_seam(seam: SeamConfig, geometry: GeometryConfig) -> None:
    (low, high), tile = seam.text_height, geometry.tile
    if not 0 < low <= high:
        raise ConfigError(f"data.seam.text_height = [{low}, {high}] is not a range of heights; give [low, high] with 0 < low <= high")
    if high > tile:
        raise ConfigError(f"data.seam.text_height = [{low}, {high}] is higher than a tile of {tile} px; choose smaller text")
    _check_below(seam)
    _check_sizes(seam, tile)
    check_heights(seam, PATCH * seam.page_scale / geometry.patch)
    least, most = seam.cut_share
    if not CUT_SHARE <= least <= most <= 0.5:
        raise ConfigError(
            f"data.seam.cut_share = [{least}, {most}] is no range of the smaller share of a cut; give [low, high] with "
            f"{CUT_SHARE} <= low <= high <= 0.5"
        )
    aspect = seam.page_aspect
    if aspect is not None and not 0 < aspect[0] <= aspect[1]:
        raise ConfigError(f"data.seam.page_aspect = {list(aspect)} is no range of width / height; give [low, high], e.g. [0.25, 4]")
    _check_shares("data.seam.tasks", list(seam.tasks.values()))
    _check_shares("data.seam.code_length", list(seam.code_length))


def _check_sizes(seam: SeamConfig, tile: int) -> None:
    """What a task shows has a size, within a tile."""
    for task, factor in seam.sizes.items():
        if not 0 < factor * seam.text_height[1] <= tile:
            raise ConfigError(
                f"data.seam.sizes.{task} = {factor:g} makes text of data.seam.text_height up to {factor * seam.text_height[1]:g} px high, "
                f"on tiles of {tile} px; choose a factor above 0, up to {tile / seam.text_height[1]:.3g}"
            )


def _check_below(seam: SeamConfig) -> None:
    """A second range of heights lies below the first, and has a share."""
    below, low = seam.below_height, seam.text_height[0]
    if (below is None) != (seam.below_share == 0):
        raise ConfigError(
            f"data.seam.below_share = {seam.below_share:g} and data.seam.below_height = {None if below is None else list(below)} belong "
            "together; give a share above 0 and a range, e.g. 0.5 and [4.4, 6.0], or leave both out"
        )
    if below is not None and not 0 < below[0] <= below[1] < low:
        raise ConfigError(
            f"data.seam.below_height = {list(below)} is no range below data.seam.text_height, which begins at {low:g}; give [low, high] "
            f"with 0 < low <= high < {low:g}"
        )


def _check_projector(config: RunConfig) -> None:
    """Tokens become one in whole squares of a tile, and of tokens that are all there."""
    side, geometry = config.projector.side, config.geometry
    if geometry.grid % side:
        factors = [number for number in range(2, geometry.grid + 1) if geometry.grid % number == 0]
        raise ConfigError(
            f"projector.factor = {side} does not divide the {geometry.grid} tokens of a tile's side; choose {', '.join(map(str, factors))}"
        )
    if side > 1 and (geometry.tiling.overlap or geometry.tiling.padding_tokens != "keep"):
        field = "overlap" if geometry.tiling.overlap else "padding_tokens"
        raise ConfigError(
            f"projector.kind = {config.projector.kind!r} makes one token of the neighbours in a tile, but with geometry.tiling.{field} = "
            f"{getattr(geometry.tiling, field)!r} a tile does not hand over all of them; leave that field out, or choose another kind"
        )
    if side > 1 and config.train.truth_weight:
        raise ConfigError(
            f"projector.kind = {config.projector.kind!r} makes one token of several, but train.truth_weight compares each one with "
            "its own truth; set truth_weight=0, or choose another kind"
        )


def _check_prompt(config: RunConfig) -> None:
    """A template that there is, and room for a text behind the image of the smallest canvas."""
    check_template("language.template", config.language.template)
    most, geometry, scale = config.language.max_tokens, config.geometry, config.geometry.vit_scale
    if most is None:
        return
    if geometry.tiling.padding_tokens == "drop":  # how much, only an image can tell
        least = geometry.grid**2
    else:
        least = min(llm_tokens((scale * width, scale * height), config) for width, height in geometry.allowed_canvases)
    if most <= least:
        raise ConfigError(
            f"language.max_tokens = {most} leaves no room for a text: an image alone takes {least} tokens or more; raise it, or choose "
            "smaller geometry.canvases"
        )


def _check_truth(config: RunConfig) -> None:
    """Only a pretrained answer model knows how to say what a token shows; and what each shows is known of a canvas's own tokens alone."""
    weight, spec = config.train.truth_weight, config.language.weights
    if weight and weights_file(spec) is None:
        raise ConfigError(
            f"train.truth_weight = {weight:g} needs an answer model with its embedding of the truth, but language.weights = {spec!r}; "
            "set language.weights=package:mini_answers_0 (preset mini has them), or truth_weight=0"
        )
    if not weight or not config.data.draws_seam:
        return
    for canvas, seen in zip(config.geometry.canvases, seen_canvases(config), strict=True):
        if seen != canvas or not tile_layout(config.geometry, seen).plain:
            raise ConfigError(
                f"train.truth_weight = {weight:g} needs tiles side by side that fill the canvas, which those of geometry.tiling and "
                f"vit_scale on pages for {canvas[0]}x{canvas[1]} px do not; set them back, or truth_weight=0"
            )


def _check_shares(field: str, shares: list[float]) -> None:
    if not shares:
        raise ConfigError(f"{field} is empty, so there would be no items; give shares that add up to 1")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"{field} = {shares}: shares must not be negative and add up to 1 (now {sum(shares):g})")
