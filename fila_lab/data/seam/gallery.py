"""Pictures of test triplets, drawn again from their ids, with seams and the target's box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.data import PLACES
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.data.suite import SPLITS
from fila_lab.imaging import Geometry
from fila_lab.imaging.pictures import draw_seams

SEAM, TARGET = (220, 30, 30), (20, 90, 220)
PICTURE = 256
"""Longest side of a picture: legible in a report, small in a repository."""


def drawn_items(config: RunConfig, item_id: str) -> tuple[SeamItem, ...]:
    """The items of one id at all their places, drawn again. Errors: FilaError for what is no id of this suite."""
    split, index = item_id.partition("-")[0], item_id.rpartition("-")[2]
    if split not in SPLITS or not index.isdecimal():
        raise FilaError(f"item {item_id!r} is none of the seam suite's, whose ids are like test-reading-000012")
    return SeamSuite(config.data.seam, config.geometry).placed(split, int(index))


def marked_page(item: SeamItem, config: RunConfig) -> Image.Image:
    """The page with its seams and the target's box."""
    page = item.image.copy()
    geometry = Geometry.of(*page.size, config.geometry.reference)  # the seams that the places are about
    draw_seams(page, geometry, 1 / geometry.scale, SEAM)
    ImageDraw.Draw(page).rectangle(item.target_box, outline=TARGET)
    return page


def draw_triplets(config: RunConfig, item_ids: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Write FOLDER/<item>-<place>.png for every item and place; returns the entries of gallery.json."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for item_id in item_ids:
        images = {}
        for item in [item for item in drawn_items(config, item_id) if item.place in PLACES]:
            page = marked_page(item, config)
            images[item.place] = f"{item_id}-{item.place}.png"
            page.thumbnail((PICTURE, PICTURE))
            page.quantize(64).save(folder / images[item.place], optimize=True)
        entries.append(
            {"item_id": item_id, "question": item.question, "answer": item.answer, "cut_fraction": item.cut_fraction, "images": images}
        )
    return entries
