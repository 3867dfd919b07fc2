"""Pictures of test triplets, drawn again from their ids, with seams and the target's box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import ImageDraw

from fila_lab.config import RunConfig
from fila_lab.data.seam.suite import SeamSuite
from fila_lab.imaging import Geometry
from fila_lab.imaging.pictures import draw_seams

SEAM, TARGET = (220, 30, 30), (20, 90, 220)
PICTURE = 256
"""Longest side of a picture: legible in a report, small in a repository."""


def draw_triplets(config: RunConfig, item_ids: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Write FOLDER/<item>-<place>.png for every item and place; returns the entries of gallery.json."""
    suite = SeamSuite(config.data.seam, config.geometry)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for item_id in item_ids:
        split, _, index = item_id.split("-")
        images = {}
        for item in suite.triplet(split, int(index)):
            page = item.image.copy()
            geometry = Geometry.of(*page.size, config.geometry.reference)  # the seams that the places are about
            draw_seams(page, geometry, 1 / geometry.scale, SEAM)
            ImageDraw.Draw(page).rectangle(item.target_box, outline=TARGET)
            images[item.place] = f"{item_id}-{item.place}.png"
            page.thumbnail((PICTURE, PICTURE))
            page.quantize(64).save(folder / images[item.place], optimize=True)
        entries.append(
            {"item_id": item_id, "question": item.question, "answer": item.answer, "cut_fraction": item.cut_fraction, "images": images}
        )
    return entries
