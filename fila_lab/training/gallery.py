"""Pictures of test triplets, drawn again from their ids, with seams and the target's box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import ImageDraw

from fila_lab.config import RunConfig
from fila_lab.data.seam import SeamSuite
from fila_lab.imaging import Geometry

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
            pen = ImageDraw.Draw(page)
            for x in geometry.seams_x:
                pen.line((x / geometry.scale, 0, x / geometry.scale, page.height), fill=SEAM)
            for y in geometry.seams_y:
                pen.line((0, y / geometry.scale, page.width, y / geometry.scale), fill=SEAM)
            pen.rectangle(item.target_box, outline=TARGET)
            images[item.place] = f"{item_id}-{item.place}.png"
            page.thumbnail((PICTURE, PICTURE))
            page.quantize(64).save(folder / images[item.place], optimize=True)
        entries.append(
            {"item_id": item_id, "question": item.question, "answer": item.answer, "cut_fraction": item.cut_fraction, "images": images}
        )
    return entries
