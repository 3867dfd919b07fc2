"""Whether sham places keep the phase of cut places towards the ConvNeXt's stride: closed geometry, no item is drawn. Torch-free.

A target moves from its cut to its sham place by a multiple of `phase_step` patches. The phase is kept where that is a whole number of
strides of the detail input: at native k and its multiples always, at other k only where `data.seam.stride_cells` makes the steps longer.
Where it is lost, what differs between the two places is the seam and the phase together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Literal

from fila_lab.config.counts import STRIDES
from fila_lab.config.metrics import tasks_of
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_pages import has_sham_place, page_canvases, page_size, phase_step
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tiling import resized_size, seen_canvas

OF_NO_PLACE = ("foreign", "constant")
"""Controls whose map does not show where the target is, so that no place has a phase towards it."""
NAMED = 12
"""Arms that a note names; of more it says how many."""


def phase_kept(config: RunConfig) -> Literal["all", "some", "none"] | None:
    """How many of the moves from cut to sham places that the run's pages permit keep the phase towards the ConvNeXt's stride.

    `some`: it depends on the page, and on the size of the target, as larger ones are moved farther. None: the run is tested on no triplets,
    or no ConvNeXt shows it the target. Pages are made for `geometry.canvases`, the detail input of the canvas on which the run sees them.
    """
    if not tasks_of(config) or not has_convnext(config) or config.fusion.control in OF_NO_PLACE:
        return None
    whole = {move.denominator == 1 for move in _moves(config)}
    if not whole:
        return None
    return "some" if len(whole) > 1 else "all" if whole == {True} else "none"


def phase_note(arms: Mapping[str, RunConfig]) -> str:
    """The arms whose cut and sham places do not always share the phase of the ConvNeXt's stride, what that means, and what mends it; empty
    where there are none. arms: name -> its run; all of a study, as its items are the same for all."""
    kept = {arm: phase_kept(run) for arm, run in arms.items()}
    never, partly = ({arm: arms[arm] for arm in arms if kept[arm] == word} for word in ("none", "some"))
    if not never and not partly:
        return ""
    shared = "the phase of the ConvNeXt's stride"
    said = [f"of {_named(never)} never share {shared}"] if never else []
    if partly:
        named, where = _named(partly), "only on some pages or for some sizes of targets"
        said.append(f"those of {named} {where}" if never else f"of {named} share {shared} {where}")
    mixed = "what differs between the two places there, seam gap and fragmentation errors, is not the seam's alone"
    return f"cut and sham places {', '.join(said)}: {mixed}; {_remedy(arms, {**never, **partly})}"


def _moves(config: RunConfig) -> Iterator[Fraction]:
    """How far a sham place can lie from its cut place, on every canvas and along every axis that has both, in strides."""
    geometry, seam = config.geometry, config.data.seam
    for canvas in page_canvases(geometry, seam):
        seen = seen_canvas(config, canvas)
        resized = resized_size(page_size(config, canvas), seen, geometry.tiling.fit)
        for axis in (0, 1):
            tiles, grid = canvas[axis] // geometry.tile, geometry.grid
            side = geometry.whole_image or STRIDES[-1] * geometry.cells_a_side * (seen[axis] // geometry.tile)
            patch = Fraction(side * resized[axis], seen[axis] * tiles * grid * STRIDES[-1])
            step = phase_step(tiles, grid, seam.stride_cells)
            yield from (patches * patch for patches in range(step, tiles * grid, step) if has_sham_place(tiles, grid, patches))


def _remedy(arms: Mapping[str, RunConfig], apart: Mapping[str, RunConfig]) -> str:
    """Longer steps for the whole study, where a canvas has room for them."""
    first = next(iter(apart.values()))
    cells = sorted({cell for run in apart.values() for cell in (run.geometry.cells_a_side, *run.data.seam.stride_cells)})
    field = f"data.seam.stride_cells: {cells}"
    mended = [_with_steps(run, tuple(cells)) for run in arms.values()]
    if not all(page_canvases(run.geometry, run.data.seam) for run in mended):
        return f"no canvas has room for {field}"
    if not all(phase_kept(run) in (None, "all") for run in mended):
        return f"{field} would not keep it"
    left = page_canvases(mended[0].geometry, mended[0].data.seam)
    before = len(page_canvases(first.geometry, first.data.seam))
    fewer = f", which {len(left)} of {before} canvases have room for" if len(left) < before else ""
    return f"{field}, for all arms, keeps it{fewer}"


def _with_steps(run: RunConfig, cells: tuple[int, ...]) -> RunConfig:
    seam = run.data.seam.model_copy(update={"stride_cells": cells})
    return run.model_copy(update={"data": run.data.model_copy(update={"seam": seam})})


def _named(arms: Mapping[str, RunConfig]) -> str:
    """`k2, k4 (k = 2, 4)`."""
    named = [*list(arms)[:NAMED], *([f"{len(arms) - NAMED} more"] if len(arms) > NAMED else [])]
    geometries = [run.geometry for run in arms.values()]
    cells = sorted({one.detail_cells for one in geometries if one.detail_cells is not None})
    sides = sorted({one.whole_image for one in geometries if one.whole_image is not None})
    details = [f"{name} = {', '.join(map(str, own))}" for name, own in (("k", cells), ("whole_image", sides)) if own]
    return f"{', '.join(named)} ({'; '.join(details)})"
