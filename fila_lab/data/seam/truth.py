"""What a perfect detail branch would say: glyphs as records, and records as one-hot maps on the stage grids (control `oracle_map`).

A record is (class, colour, x, y, width, role): class an index into CLASSES, colour into COLOUR_NAMES, x and y the centre and width in
canvas px, role an index into ROLES. A bar's class is the digit of the grid line it reaches; a mark on an object has the object's colour.
Two glyphs of a code can share a stage-4 cell, and a fusion may pool the finer stages over a token's window; so a character's class has
one channel for the left and one for the right half of its patch, which keeps the order of characters readable. Every cell says three
things, an empty one that it has no name, colour and role: a fusion that normalises its window then hears each equally loud, however full
it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fila_lab.config.counts import STRIDES
from fila_lab.config.seam_words import ALPHABET, COLOUR_NAMES, LAYOUTS, ORACLE_CHANNELS, ROLES, SHAPES, TRUTH_CHANNELS
from fila_lab.data.seam.suite import SeamItem
from fila_lab.data.suite import Glyph
from fila_lab.imaging import Geometry

CLASSES: tuple[str, ...] = (*ALPHABET, *LAYOUTS, *SHAPES)
RECORD = 6
"""Numbers in a record."""
TRUTH = len(CLASSES) + len(COLOUR_NAMES)
"""Numbers that tell the truth about a quarter of a token: glyph and colour, one-hot."""

_CLASS = {name: i for i, name in enumerate(CLASSES)}
_COLOUR = {name: i for i, name in enumerate(COLOUR_NAMES)}
_ROLE = {name: i for i, name in enumerate(ROLES)}
_CHANNEL = {name: i for i, name in enumerate(TRUTH_CHANNELS)}
_NAME_CHANNEL = np.array([_CHANNEL.get(name, _CHANNEL.get(f"{name} left")) for name in CLASSES], np.int64)
_COLOUR_CHANNEL = np.array([_CHANNEL[name] for name in COLOUR_NAMES], np.int64)
_ROLE_CHANNEL = np.array([_CHANNEL[name] for name in ROLES], np.int64)
_NOTHING = np.array([_CHANNEL[name] for name in ("no name", "no colour", "no role")], np.int64)


def glyph_records(item: SeamItem) -> np.ndarray:
    """Records of all glyphs on the page, target first, float32 [G, 6]."""
    return records_of(item.glyphs, item.canvas[0] / item.image.width)


def records_of(glyphs: Iterable[Glyph], scale: float) -> np.ndarray:
    """Records of glyphs whose boxes are in page px, `scale` canvas px each; float32 [G, 6]."""
    rows = []
    for glyph in glyphs:
        x0, y0, x1, y1 = (side * scale for side in glyph.box)
        rows.append((_CLASS[glyph.char], _COLOUR[glyph.colour], (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, _ROLE[glyph.role]))
    return np.array(rows, np.float32).reshape(-1, RECORD)


def stage_sizes(geometry: Geometry) -> list[tuple[int, int]]:
    """(h, w) of the detail maps of stages 1 to 4."""
    width, height = geometry.detail_size
    return [(height // stride, width // stride) for stride in STRIDES]


def truth_maps(records: np.ndarray, counts: np.ndarray, geometry: Geometry, made_for: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Truth maps of a batch of pages on one canvas.

    records float32 [B, G, 6], padded, in px of the canvas the pages are `made_for` (default: the geometry's own, which the tiling can
    have chosen differently); counts int [B], the valid records of each page. Returns four uint8 arrays [B, C, h, w], 1 in the
    cell where a glyph's centre lies; three channels say of a cell that nothing does.
    """
    batch, glyphs = records.shape[:2]
    page, slot = np.nonzero(np.arange(glyphs) < np.asarray(counts)[:, None])
    valid = records[page, slot]
    name, colour, role = (valid[:, i].astype(np.int64) for i in (0, 1, 5))
    x, y = (_on_canvas(valid[:, 2 + axis], axis, geometry, made_for) for axis in (0, 1))
    right = (x % geometry.patch) >= geometry.patch / 2
    letters = len(ALPHABET)
    name_channel = _NAME_CHANNEL[name] + letters * (right & (name < letters))
    colour_channel, role_channel = _COLOUR_CHANNEL[colour], _ROLE_CHANNEL[role]
    maps = []
    for height, width in stage_sizes(geometry):
        row = np.clip((y * (height / geometry.canvas[1])).astype(np.int64), 0, height - 1)
        column = np.clip((x * (width / geometry.canvas[0])).astype(np.int64), 0, width - 1)
        grid = np.zeros((batch, ORACLE_CHANNELS, height, width), np.uint8)
        grid[page, name_channel, row, column] = 1
        grid[page, colour_channel, row, column] = 1
        grid[page, role_channel, row, column] = 1
        grid[:, _NOTHING] = grid.sum(axis=1, keepdims=True) == 0
        maps.append(grid)
    return maps


def token_truth(
    records: np.ndarray, counts: np.ndarray, canvas: tuple[int, int], tile: int, patch: int, told: np.ndarray | None = None
) -> np.ndarray:
    """What the language model's visual tokens show, in the form in which its answers were pretrained.

    records float32 [B, G, 6] (the first four numbers are read), padded, in canvas px; counts int [B]; canvas (width, height), tile and
    patch in px; told bool [B, G]: whose names the canvas's tokens tell (default: all). Returns uint8 [B, g*g + T, 4 * TRUTH], the
    overview's tokens before the canvas's: name and colour of the glyphs whose centres lie in a token's four quarters. The overview tells
    colours and panels; no character can be read there.
    """
    page, slot = np.nonzero(np.arange(records.shape[1]) < np.asarray(counts)[:, None])
    valid = records[page, slot]
    name, colour, x, y = valid[:, 0].astype(np.int64), valid[:, 1].astype(np.int64) + len(CLASSES), valid[:, 2], valid[:, 3]
    panel = (name >= len(ALPHABET)) & (name < len(ALPHABET) + len(LAYOUTS))
    width, height = canvas
    quarter, side = patch / 2, 2 * (tile // patch)
    fine = np.zeros((len(records), round(height / quarter), round(width / quarter), TRUTH), np.uint8)
    coarse = np.zeros((len(records), side, side, TRUTH), np.uint8)
    told = np.ones(len(valid), bool) if told is None else told[page, slot]
    for grid, named, across, down in ((coarse, panel, tile / width, tile / height), (fine, told, 1, 1)):
        column = np.clip((x * across / quarter).astype(np.int64), 0, grid.shape[2] - 1)
        row = np.clip((y * down / quarter).astype(np.int64), 0, grid.shape[1] - 1)
        grid[page[named], row[named], column[named], name[named]] = 1
        grid[page, row, column, colour] = 1
    return np.concatenate([by_token(coarse), by_token(fine)], axis=1)


def by_token(quarters: np.ndarray) -> np.ndarray:
    """Quarters of tokens [B, 2h, 2w, C] -> tokens in raster order, [B, h*w, 4 * C]."""
    b, h, w, c = quarters.shape
    return quarters.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * w // 4, 4 * c)


def _on_canvas(places: np.ndarray, axis: int, geometry: Geometry, made_for: tuple[int, int] | None) -> np.ndarray:
    """Places in px of the canvas that pages are made for, which they fill, as px of the geometry's canvas."""
    if made_for is None or (made_for == geometry.canvas and geometry.resized == made_for):
        return places
    return geometry.offset[axis] + places * (geometry.resized[axis] / made_for[axis])
