"""A run's fusion: one that there is, with what it has, where it can work."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.errors import mistakes
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.fusion_options import OPTIONS, ShiftedWindowOptions, SliceRestoreOptions
from fila_lab.config.fusion_points import check_fusion_points, feature_index
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import (
    FACTORS,
    FUSIONS,
    SIDE_BY_SIDE,
    WHOLE,
    fuses_detail,
    has_heads,
    looks_across,
    needs_map,
    way_of_looking,
)
from fila_lab.config.windows import axis_windows

GROUP = "fila_lab.fusions"
"""Entry points of other packages' strategies."""


def known_fusions() -> tuple[str, ...]:
    """Built-in fusions and those that installed packages announce in the entry-point group (nothing is imported)."""
    from importlib.metadata import entry_points

    return tuple(dict.fromkeys((*FUSIONS, *sorted(point.name for point in entry_points(group=GROUP)))))


def check_fusion(config: RunConfig) -> None:
    """Refuse a fusion that there is not, or that cannot work so or there.

    Raises:
        ConfigError: the field, and what to change.
    """
    fusion = config.fusion
    if fusion.name not in FUSIONS and fusion.name not in (known := known_fusions()):
        raise ConfigError(
            f"fusion.name = {fusion.name!r} is unknown{did_you_mean(fusion.name, known)}; choose {', '.join(known)}, "
            "or install a package with an entry point in the group fila_lab.fusions"
        )
    feature_index(config.vit.feature_layer, config.vit.layers)
    if fusion.control is not None and not needs_map(config):
        reason = "needs a fusion" if fusion.name == "none" else "replaces the detail maps"
        raise ConfigError(
            f"fusion.control = {fusion.control!r} {reason}, but fusion.name = {fusion.name!r} looks at none; set fusion.name=concat"
        )
    _check_own(fusion)
    if fusion.handoff == "replace" and fusion.name != "none":
        raise ConfigError(
            f"fusion.handoff = 'replace' hands over the ConvNeXt's tokens in place of a ViT's, so that fusion.name = {fusion.name!r} has "
            "none to act on; set fusion.name=none, or handoff append"
        )
    if fusion.name == "none":
        return
    _check_factors(config)
    _check_sizes(config)
    check_fusion_points(fusion.depth, config.vit.layers, config.vit.feature_layer)
    hidden = fusion.hidden or config.vit.width
    if has_heads(fusion) and hidden % fusion.heads:
        raise ConfigError(f"fusion.heads = {fusion.heads} does not divide the hidden width {hidden}; choose a divisor or set fusion.hidden")


def _check_own(fusion: FusionConfig) -> None:
    """A reach or options that the strategy does not have. Another package's is asked, and imported for it, only where one is set."""
    if fusion.reach == "canvas" and not fusion.options:
        return
    if fusion.name in FUSIONS:
        reaches, model = looks_across(fusion), OPTIONS.get(fusion.name)  # which FusionConfig has asked already
    else:
        strategy = _loaded(fusion.name)
        reaches, model = bool(getattr(strategy, "reaches", False)), getattr(strategy, "options", None)
    if fusion.reach == "tile" and not reaches:
        across = [name for name in FUSIONS if looks_across(FusionConfig(name=name))]
        field, remedy = "name", f"choose {', '.join(across)}"
        if fusion.name in across and fusion.control == "oracle_map":  # which reads the truth in the strategy's place
            field, remedy = "control", "take another control"
        elif fusion.name in across:
            field, remedy = "aggregate", "take the strategy's own aggregate"
        raise ConfigError(
            f"fusion.reach = 'tile' makes the twin of a fusion that looks across seams, but fusion.{field} = {getattr(fusion, field)!r} "
            f"does not; leave it out, or {remedy}"
        )
    if model is not None:
        try:
            model.model_validate(fusion.options)
        except ValidationError as error:
            raise ConfigError(f"fusion.options: {mistakes(error, model)[0]}") from None
    elif fusion.options:
        raise ConfigError(
            f"fusion.options = {fusion.options} has no meaning with fusion.name = {fusion.name!r}, which has none; leave it out, "
            f"or choose {', '.join(OPTIONS)}"
        )


def _loaded(name: str) -> Any:
    from importlib.metadata import entry_points

    (point,) = (point for point in entry_points(group=GROUP) if point.name == name)
    try:
        return point.load()
    except Exception as error:
        raise ConfigError(
            f"fusion.name = {name!r}: the entry point {point.value!r} does not load ({error}); repair that package"
        ) from error


def _check_sizes(config: RunConfig) -> None:
    """Windows, or cells, that do not fit the tiles or a canvas."""
    fusion, geometry = config.fusion, config.geometry
    sides = sorted({geometry.vit_scale * side // geometry.tile for canvas in geometry.allowed_canvases for side in canvas})
    try:
        if fusion.name == "slice_restore":
            SliceRestoreOptions.model_validate(fusion.options).pooled_side(geometry.grid)
        if fusion.name == "shifted_window":
            for tiles in sides:
                axis_windows(ShiftedWindowOptions.model_validate(fusion.options), tiles, geometry.grid)
    except ValueError as error:
        raise ConfigError(f"fusion.options{'' if str(error).startswith(':') else '.'}{error}") from None


def _check_factors(config: RunConfig) -> None:
    """Factors that the strategy does not have; neighbours where tiles overlap; and a control for a fusion that sees no map, although the
    handoff does."""
    fusion = config.fusion
    overlap = config.geometry.tiling.overlap
    if overlap and way_of_looking(fusion) in SIDE_BY_SIDE:
        raise ConfigError(
            f"fusion.name = {fusion.name!r} looks across the borders of tiles that lie side by side, but with geometry.tiling.overlap = "
            f"{overlap} they share tokens; set geometry.tiling.overlap=0, or choose another fusion"
        )
    for factor in ("aggregate", "combine", "gate"):
        value = getattr(fusion, factor)
        if value is not None and fusion.name in WHOLE and factor not in WHOLE[fusion.name]:
            raise ConfigError(
                f"fusion.{factor} = {value!r} has no meaning with fusion.name = {fusion.name!r}; leave it out, "
                f"or choose {', '.join(FACTORS)}"
            )
    if fusion.control == "oracle_map" and not fuses_detail(fusion.model_copy(update={"control": None})):
        raise ConfigError(
            f"fusion.control = 'oracle_map' would turn fusion.name = {fusion.name!r} into a fusion of the truth; set fusion.name=concat"
        )
