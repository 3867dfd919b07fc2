"""What one field alone cannot tell: combinations of a run's fields that cannot work, each refused with a remedy."""

from __future__ import annotations

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.interactions import check_interactions, feature_index
from fila_lab.config.run import FUSIONS, MIN_CUT_SHARE, RunConfig
from fila_lab.config.weights import check_weights

MAX_DETAIL_SIDE = 16384
"""Longest side of a detail input, pixels: beyond it a stage-1 map alone takes gigabytes."""


def known_fusions() -> tuple[str, ...]:
    """Built-in fusions and those that installed packages announce in the entry-point group `fila_lab.fusions` (nothing is imported)."""
    from importlib.metadata import entry_points

    return tuple(dict.fromkeys((*FUSIONS, *sorted(point.name for point in entry_points(group="fila_lab.fusions")))))


def check_run(config: RunConfig) -> None:
    """Raise ConfigError for the first combination that cannot work."""
    _check_fusion(config)
    _check_towers(config)
    _check_geometry(config)
    _check_data(config)


def _check_fusion(config: RunConfig) -> None:
    fusion = config.fusion
    if fusion.name not in FUSIONS and fusion.name not in (known := known_fusions()):
        raise ConfigError(
            f"fusion.name = {fusion.name!r} is unknown{did_you_mean(fusion.name, known)}; choose {', '.join(known)}, "
            "or install a package with an entry point in the group fila_lab.fusions"
        )
    feature_index(config.vit.feature_layer, config.vit.layers)
    if fusion.name == "none":
        if fusion.control is not None:
            raise ConfigError(f"fusion.control = {fusion.control!r} needs a fusion, but fusion.name = 'none'; set fusion.name=concat")
        return
    check_interactions(fusion.depth, config.vit.layers, config.vit.feature_layer)
    attends = fusion.aggregate == "attend" or (fusion.aggregate is None and fusion.name == "cross_attention")
    hidden = fusion.hidden or config.vit.width
    if attends and hidden % fusion.heads:
        raise ConfigError(f"fusion.heads = {fusion.heads} does not divide the hidden width {hidden}; choose a divisor or set fusion.hidden")


def _check_towers(config: RunConfig) -> None:
    vit, language = config.vit, config.language
    if vit.width % vit.heads:
        raise ConfigError(f"vit.heads = {vit.heads} does not divide vit.width = {vit.width}; choose a divisor")
    if language.width % language.heads:
        raise ConfigError(f"language.heads = {language.heads} does not divide language.width = {language.width}; choose a divisor")
    if language.kv_heads is not None and language.heads % language.kv_heads:
        raise ConfigError(f"language.kv_heads = {language.kv_heads} does not divide language.heads = {language.heads}; choose a divisor")
    check_weights("vit", vit.weights)
    check_weights("convnext", config.convnext.weights)


def _check_geometry(config: RunConfig) -> None:
    geometry = config.geometry
    if geometry.vit_scale > 1:
        _check_vit_scale(config)
        return
    if geometry.whole_image is not None:
        if geometry.whole_image > MAX_DETAIL_SIDE:
            raise ConfigError(f"geometry.whole_image = {geometry.whole_image} is more than {MAX_DETAIL_SIDE} px; choose a smaller side")
        return
    longest = max(max(canvas) // geometry.tile for canvas in geometry.canvases)
    side = 32 * geometry.detail_cells * longest
    if side > MAX_DETAIL_SIDE:
        raise ConfigError(
            f"geometry.detail_cells = {geometry.detail_cells} makes a detail input of {side} px, more than {MAX_DETAIL_SIDE}; "
            f"choose at most {MAX_DETAIL_SIDE // (32 * longest)} (native is {geometry.grid}, one cell a token)"
        )


def _check_vit_scale(config: RunConfig) -> None:
    """A finer ViT is a rival of the detail branch, not its companion: cells and tiles would no longer correspond."""
    scale, patch, page = config.geometry.vit_scale, config.geometry.patch, 32 * config.data.page_scale
    if config.fusion.name != "none":
        raise ConfigError(
            f"geometry.vit_scale = {scale} gives the ViT more tiles instead of a detail branch, but fusion.name = {config.fusion.name!r}; "
            "set fusion.name=none, or geometry.vit_scale=1"
        )
    if scale * patch > page:
        raise ConfigError(
            f"geometry.vit_scale = {scale} enlarges a patch to {scale * patch} px, more than the {page} px a page has for it "
            f"(32 x data.page_scale); choose at most {page // patch}, or raise data.page_scale"
        )


def _check_data(config: RunConfig) -> None:
    data, train = config.data, config.train
    for field, items, pool in (("train", data.train_items, data.train_pool), ("val", data.val_items, data.val_pool)):
        if items > pool:
            raise ConfigError(f"data.{field}_items = {items} is more than data.{field}_pool = {pool}; draw fewer or enlarge the pool")
    if train.batch_size > data.train_items:
        raise ConfigError(f"train.batch_size = {train.batch_size} is more than data.train_items = {data.train_items}; shrink the batch")
    low, high = data.text_height
    if not 0 < low <= high:
        raise ConfigError(f"data.text_height = [{low}, {high}] is not a range of heights; give [low, high] with 0 < low <= high")
    if high > config.geometry.tile:
        raise ConfigError(f"data.text_height = [{low}, {high}] is higher than a tile of {config.geometry.tile} px; choose smaller text")
    least, most = data.cut_share
    if not MIN_CUT_SHARE <= least <= most <= 0.5:
        raise ConfigError(
            f"data.cut_share = [{least}, {most}] is no range of the smaller share of a cut; give [low, high] with "
            f"{MIN_CUT_SHARE} <= low <= high <= 0.5"
        )
    if data.page_aspect is not None and not 0 < data.page_aspect[0] <= data.page_aspect[1]:
        raise ConfigError(f"data.page_aspect = {list(data.page_aspect)} is no range of width / height; give [low, high], e.g. [0.25, 4]")
    _check_shares("data.families", list(data.families.values()))
    _check_shares("data.code_length", list(data.code_length))


def _check_shares(field: str, shares: list[float]) -> None:
    if not shares:
        raise ConfigError(f"{field} is empty, so there would be no items; give shares that add up to 1")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"{field} = {shares}: shares must not be negative and add up to 1 (now {sum(shares):g})")
