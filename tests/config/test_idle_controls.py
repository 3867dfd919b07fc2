"""A control that the plan lets through changes the maps of every canvas; one that would change nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.tiling import TileLayout

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
CONTROLS = ("shifted", "shuffled", "constant", "random_window")
"""Those made of the arm's own maps; foreign, random_weights and oracle_map read others."""
CANVASES = ([[42, 42]], [[42, 84], [42, 42]], [[42, 84], [126, 42]], [[84, 84]])
INPUTS: tuple[dict[str, Any], ...] = ({"geometry.detail_cells": 1}, {"geometry.detail_cells": 3}, {"geometry.whole_image": 192})


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("canvases", CANVASES, ids=str)
@pytest.mark.parametrize("detail", INPUTS, ids=str)
def test_a_control_changes_what_tokens_read_on_every_canvas_or_is_refused(control: str, canvases: list, detail: dict) -> None:
    import torch

    from fila_lab.modeling.detail import DetailMaps, spoil

    for shift in (0, 2, 3, 6):
        works = True
        for width, height in canvases:
            cols, rows, k = width // 42, height // 42, detail.get("geometry.detail_cells", 6)
            whole = "geometry.whole_image" in detail
            sizes = [(n * k, n * k) if whole else (n * k * rows, n * k * cols) for n in (8, 4, 2, 1)]
            maps = [torch.arange(float(h * w)).view(1, 1, h, w) for h, w in sizes]
            cells = tuple(k * n for n in (8, 4, 2, 1))
            turns = torch.tensor([7]) if control == "random_window" else None
            plain = DetailMaps(maps, cells, TileLayout.side_by_side(3, rows, cols))
            spoiled = DetailMaps(spoil(maps, control, shift), cells, TileLayout.side_by_side(3, rows, cols), turns=turns)
            works &= not all(torch.equal(plain.tiles(stage), spoiled.tiles(stage)) for stage in (1, 2, 3, 4))
        overrides = {
            "fusion.control": control,
            "fusion.shift": shift,
            "geometry.canvases": canvases,
            "data.seam.codes_per_page": 1,
        } | detail
        if works:
            resolve_run("mini", RANDOM, overrides)
        else:
            with pytest.raises(ConfigError, match=f"fusion.control = '{control}' changes nothing on a canvas of"):
                resolve_run("mini", RANDOM, overrides)
        if control != "shifted":
            break


def test_a_shift_at_one_of_training_and_evaluation_may_be_none() -> None:
    for shift, eval_shift in ((0, 1), (1, 0)):
        resolve_run("mini", {"fusion.control": "shifted", "fusion.shift": shift, "fusion.eval_shift": eval_shift})
    for shift, eval_shift in ((0, 0), (0, 18), (18, None), (1, 18)):
        with pytest.raises(ConfigError, match="back to its place"):
            resolve_run("mini", {"fusion.control": "shifted", "fusion.shift": shift, "fusion.eval_shift": eval_shift})


@pytest.mark.parametrize(
    "arm",
    [
        {"fusion.name": "none", "geometry.tiling.perspective": "strided"},
        {"fusion.name": "none", "geometry.tiling.perspective": "both"},
        {"fusion.name": "slice_restore", "fusion.reach": "tile"},
    ],
    ids=str,
)
def test_what_needs_a_seam_is_refused_where_no_canvas_has_one(arm: dict[str, Any]) -> None:
    """It would be another arm under a name of its own. One canvas with a seam is enough, and so is a ViT that sees the tile as several."""
    one = {"geometry.tiling.canvases": [[42, 42]]}
    with pytest.raises(ConfigError, match=r"every canvas is one tile of 42 px; add canvases of two tiles and more, or"):
        resolve_run("mini", RANDOM, arm, one)
    resolve_run("mini", RANDOM, arm, {"geometry.tiling.canvases": [[42, 42], [84, 42]]})
    if arm["fusion.name"] == "none":
        resolve_run("mini", RANDOM, arm, one, {"geometry.vit_scale": 2})
