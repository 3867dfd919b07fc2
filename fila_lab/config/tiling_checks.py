"""What strided tiles and a second grid do not go with, each refused with a remedy."""

from __future__ import annotations

from fila_lab.config.base import ConfigError
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import looks_across
from fila_lab.config.tiling import second_size


def check_tiling(config: RunConfig) -> None:
    """Refuse tilings of more than one grid, or of strided tiles, with parts of a run that know tiles side by side alone; and a second grid
    that is not to be had.

    Raises:
        ConfigError: for the first that cannot work.
    """
    geometry = config.geometry
    tiling = geometry.tiling
    _check_seams(config)
    if tiling.one_grid:
        return
    named = f"geometry.tiling.perspective = {tiling.perspective!r}" if tiling.perspective != "local" else "geometry.tiling.second"
    several = tiling.perspective == "both" or tiling.second is not None
    if several and config.fusion.handoff != "none":
        one = named if tiling.perspective == "both" else "geometry.tiling.second"
        raise ConfigError(
            f"{one} shows the canvas more than once, but fusion.handoff = {config.fusion.handoff!r} hands over one detail token a "
            "position; set fusion.handoff=none, or one grid"
        )
    if tiling.perspective == "strided" and tiling.overlap:
        raise ConfigError(
            f"{named}: strided tiles lie nowhere side by side, but geometry.tiling.overlap = {tiling.overlap}; set it to 0, or "
            "perspective=both"
        )
    _check_parts(config, named)
    if tiling.second is not None:
        if geometry.vit_scale > 1:
            raise ConfigError(
                f"geometry.tiling.second and geometry.vit_scale = {geometry.vit_scale} both add tiles; set geometry.vit_scale=1, or no "
                "second grid"
            )
        for canvas in dict.fromkeys((*geometry.allowed_canvases, *geometry.canvases)):
            second_size(geometry, canvas)


def _check_seams(config: RunConfig) -> None:
    """What changes nothing where no canvas has a seam, and so would be another arm under a name of its own."""
    geometry, fusion = config.geometry, config.fusion
    if geometry.vit_scale > 1 or any(canvas != (geometry.tile, geometry.tile) for canvas in geometry.allowed_canvases):
        return
    where = f"every canvas is one tile of {geometry.tile} px; add canvases of two tiles and more, or"
    if geometry.tiling.perspective != "local":
        raise ConfigError(
            f"geometry.tiling.perspective = {geometry.tiling.perspective!r} takes every n-th pixel of n tiles, but {where} set "
            "perspective=local"
        )
    if fusion.reach == "tile":
        raise ConfigError(f"fusion.reach = 'tile' makes a twin that cannot look across seams, but {where} leave it out")


def _check_parts(config: RunConfig, named: str) -> None:
    """Fusion and projector."""
    fusion = config.fusion
    if looks_across(fusion):
        raise ConfigError(
            f"fusion.name = {fusion.name!r} looks across the borders of tiles that lie side by side, but with {named} not all of them do; "
            "set geometry.tiling back, or choose another fusion"
        )
    if fusion.detail_context == "tile":
        raise ConfigError(
            f"fusion.detail_context = 'tile' cuts the detail input where tiles meet, but with {named} tiles meet elsewhere too; set one of "
            "the two back"
        )
    if config.projector.side > 1 and config.geometry.tiling.perspective != "local":
        raise ConfigError(
            f"projector.kind = {config.projector.kind!r} makes one token of the neighbours in a tile, but with {named} neighbours lie in "
            "different tiles; set perspective=local, or choose another kind"
        )
