"""Every tiling trains, on the same items, whose places stay those of the plain canvas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_run import tiny

from fila_lab.config import RunConfig
from fila_lab.data.seam import seam_pool
from fila_lab.data.seam.truth import TRUTH_CHANNELS, truth_maps
from fila_lab.studies.identity import cell_id, data_hash
from fila_lab.training import run_cell
from fila_lab.training.predict import predict

TILINGS: dict[str, dict[str, Any]] = {
    "larger": {"geometry__tiling__canvases": [[42, 84], [84, 42], [84, 84], [126, 126], [126, 252], [252, 126]]},
    "internvl": {"geometry__tiling__rule": "internvl", "geometry__tiling__max_tiles": 6, "geometry__tiling__fit": "stretch"},
    "single_drop": {"geometry__tiling__canvases": [[42, 42]], "geometry__tiling__padding_tokens": "drop"},
    "stretched": {"geometry__tiling__canvases": [[84, 84]], "geometry__tiling__fit": "stretch"},
    "overlap": {"geometry__tiling__overlap": 1},
    "strided": {"geometry__tiling__perspective": "strided"},
    "grids": {
        "geometry__tiling__perspective": "both",
        "geometry__tiling__second": {"max_tiles": 7},
        "geometry__tiling__padding_tokens": "drop",
    },
}
MORE = ("larger", "stretched", "strided", "grids")
SAID = [channel for channel, meaning in enumerate(TRUTH_CHANNELS) if not meaning.startswith("no ")]
"""Channels that say what lies in a cell, not that nothing does."""
PAGES = {
    "geometry__canvases": [[42, 168], [168, 42], [84, 84]],
    "data__train_pool": 12,
    "data__train_items": 10,
    "data__val_pool": 6,
    "data__val_items": 4,
    "data__test_triplets": 3,
    "train__steps": 2,
    "train__validate_every": 2,
    "train__batch_size": 4,
}


def cell(name: str, **more: Any) -> RunConfig:
    return tiny(**{"fusion__name": "concat", **PAGES, **TILINGS[name], **more})


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in MORE else ()) for name in TILINGS])
def test_a_cell_trains_and_answers_the_same_items(name: str, cache_dir: Path, tmp_path: Path) -> None:
    config, plain = cell(name), tiny(fusion__name="concat", **PAGES)
    outcome = run_cell(config, workdir=tmp_path / "work", cache_dir=cache_dir, checkpoint=tmp_path / "cell" / "model.safetensors")
    assert outcome.result["failure"] is None
    assert outcome.predictions is not None
    meta = seam_pool(plain.data, plain.geometry, "test", cache_dir).meta
    shared = ["item_id", "place", "question", "answer", "cut_fraction", "canvas"]
    answered, asked = (frame[shared].sort_values(["item_id", "place"], ignore_index=True) for frame in (outcome.predictions, meta))
    assert answered.equals(asked)
    assert data_hash(config) == data_hash(plain)
    assert cell_id(config) != cell_id(plain)
    Image.new("RGB", (120, 300), "white").save(tmp_path / "page.png")
    assert "tiles: " in predict(tmp_path / "page.png", "red?", tmp_path / "cell")
    assert Image.open(tmp_path / "page-tiles.png").width > 100


@pytest.mark.parametrize("name", TILINGS)
def test_the_truth_lies_where_the_detail_input_shows_it(name: str, cache_dir: Path) -> None:
    config = cell(name)
    pool = seam_pool(config.data, config.geometry, "train", cache_dir)
    for group in pool.groups.values():
        where, canvas = group.bucket.geometry, group.bucket.canvas
        for maps, stride in zip(truth_maps(group.glyphs, group.counts, where, canvas), (4, 8, 16, 32), strict=True):
            for page, (glyphs, count) in enumerate(zip(group.glyphs, group.counts, strict=True)):
                to_page = where.image_size[0] / canvas[0]  # records are in px of the canvas that the page is made for
                places = [where.to_canvas((x, y, x, y))[:2] for x, y in glyphs[:count, 2:4] * to_page]
                scale_x, scale_y = where.detail_scales
                cells = {(int(y * scale_y / stride + 1e-4), int(x * scale_x / stride + 1e-4)) for x, y in places}
                assert set(map(tuple, np.argwhere(maps[page, SAID].any(0)).tolist())) == cells
