"""The same run on other canvases and detail resolutions: what `fila-lab cost --sizes --detail` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from fila_lab.config.base import ConfigError
from fila_lab.config.checks import check_run
from fila_lab.config.errors import config_error
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import needs_map


def parse_sizes(text: str) -> tuple[Size, ...]:
    """`336x672,672x672` -> ((336, 672), (672, 672)), width x height in canvas pixels."""
    sizes = []
    for word in text.split(","):
        width, cross, height = word.strip().lower().partition("x")
        if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
            raise ConfigError(f"--sizes {word.strip()!r} is not WIDTHxHEIGHT in canvas pixels; give e.g. --sizes 336x672,672x672")
        sizes.append((int(width), int(height)))
    return tuple(dict.fromkeys(sizes))


def parse_details(text: str) -> tuple[int, ...]:
    """`16,24,32` -> (16, 24, 32), stage-4 cells a tile side."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) for word in words):
        raise ConfigError(f"--detail {text!r} is not a list of stage-4 cells a tile side; give e.g. --detail 16,24,32 (512, 768, 1024 px)")
    return tuple(dict.fromkeys(map(int, words)))


def at_size(config: RunConfig, canvas: Size, detail_cells: int | None = None) -> RunConfig:
    """The run with pages for one canvas only (its tiling may choose another), and `detail_cells` stage-4 cells a tile side; ConfigError
    for a size that cannot be."""
    tree = config.model_dump()
    geometry = {**tree["geometry"], "canvases": (canvas,)}
    if detail_cells is not None:
        geometry |= {"detail_cells": detail_cells, "whole_image": None}
    try:
        sized = RunConfig.model_validate({**tree, "geometry": geometry})
    except ValidationError as error:
        raise config_error(error, RunConfig) from None
    check_run(sized)
    return sized


def sized_runs(
    runs: Mapping[str, RunConfig], sizes: Iterable[Size] | None, details: Iterable[int] | None
) -> dict[tuple[str, Size, int], RunConfig]:
    """(arm, canvas, detail cells) -> the arm at that size; by default an arm's largest canvas, and its own detail resolution.

    Without a detail map its resolution changes nothing: such an arm stands once a canvas, at its own.
    """
    found = {}
    for arm, config in runs.items():
        largest = max(config.geometry.canvases, key=lambda size: size[0] * size[1])
        own = (config.geometry.cells_a_side,)
        for canvas in sizes or (largest,):
            for cells in (details or own) if needs_map(config) else own:
                found[arm, canvas, cells] = at_size(config, canvas, cells if details else None)
    return found
