"""Dense pages for tower pretraining: a square canvas full of plates with random strings, layout panels, and what the tasks show.

Strings are drawn uniformly over the alphabet, so no real code is learned here; blocks of tasks other than `reading` and `coarse` are
those of the suite's own pages, target and distractors alike. Fonts, photos, tables and strings are those of the split.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fila_lab.config.data import SeamConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_words import ALPHABET, COLOUR_NAMES, LAYOUTS
from fila_lab.data.seam import content, render, truth
from fila_lab.data.seam.page_setup import PITCH
from fila_lab.data.seam.suite import SeamSuite
from fila_lab.data.seam.tasks import get_task
from fila_lab.data.suite import SPLITS, as_split
from fila_lab.imaging import prepare
from fila_lab.imaging.prepare import join_tiles
from fila_lab.pretraining.thirds import of_third

TILES = 2
"""Tiles a side of a dense page."""
MAX_GLYPHS = 96
RECORD = 7
"""Numbers in a record: class, colour, x, y, width, height, and the height from which the glyph can be told, all in canvas pixels."""
LEGIBLE = {"code": 6.5, "key": 6.5, "panel": 6.5}
"""Characters and panels lower than this carry no label: what nobody can read would only be learned by heart."""
TOLD_FROM = 3.0
"""The same for marks, objects and bars."""
CAP_HEIGHTS = (8.0, 15.0)
"""Range of cap heights, canvas pixels: wider than that of any item whose text the canvas can show."""
BELOW = 0.8
"""The lowest text on pages, over the lowest of `data.seam.below_height`."""
PANEL_SHARE = 0.09
"""Share of blocks that are panels."""
TASK_SHARE = 0.6
"""Share of blocks that come from the suite's pages, where `data.seam.tasks` asks for tasks beside `reading` and `coarse`."""
CLASSES = {name: index for index, name in enumerate(truth.CLASSES)}
COLOUR_INDEX = {name: index for index, name in enumerate(COLOUR_NAMES)}


@dataclass
class DensePages:
    """canvas uint8 [P, S, S, 3]; records float32 [P, G, 7] (see RECORD), class -1 padding;
    detail: cells k -> (uint8 [Q, 64k, 64k, 3], the pages' rows [Q])."""

    canvas: np.ndarray
    records: np.ndarray
    detail: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


@dataclass
class PageTensors:
    """Dense pages on a device. canvas uint8 [P, S, S, 3]; records float32 [P, G, 7]; detail: cells k -> (uint8 [Q, 64k, 64k, 3], the
    records of these pages [Q, G, 7])."""

    canvas: Tensor
    records: Tensor
    detail: dict[int, tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, pages: DensePages, place: torch.device) -> PageTensors:
        canvas, records = (torch.from_numpy(part).to(place) for part in (pages.canvas, pages.records))
        detail = {k: (torch.from_numpy(pixels).to(place), records[torch.from_numpy(rows)]) for k, (pixels, rows) in pages.detail.items()}
        return cls(canvas, records, detail)

    def draw_resolution(self, uniform: float) -> int:
        """A k, in proportion to the pages that have it."""
        shares = np.cumsum([len(pages) for pages, _ in self.detail.values()])
        return list(self.detail)[int(np.searchsorted(shares, uniform * shares[-1], side="right"))]


def resolutions(native: int) -> tuple[int, ...]:
    """Detail resolutions of pages in turn: 2/3, 1 and 4/3 of the native k, the native one most often."""
    return (native, native * 2 // 3, native, native * 4 // 3, native)


def dense_pages(
    config: RunConfig,
    split: str,
    count: int,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None] | None = None,
    third: int | None = None,
) -> DensePages:
    """Render `count` pages with `workers` processes; the pages depend on split, seed, third and index alone.

    third: which third of the training fonts and photos `train` leaves out, and `val` shows alone; None: both show all.
    """
    draw = partial(_page, config=config, split=split, seed=seed, third=third)
    if workers == 1:
        drawn = list(map(draw, range(count)))
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as processes:
            drawn = []
            for page in processes.imap(draw, range(count), chunksize=32):
                drawn.append(page)
                if progress and len(drawn) % 100 == 0:
                    progress("pages", len(drawn), count)
    turns = resolutions(config.geometry.grid)
    detail = {}
    for cells in sorted(set(turns)):
        rows = np.array([n for n in range(count) if turns[n % len(turns)] == cells])
        detail[cells] = (np.stack([drawn[n][1] for n in rows]), rows)
    return DensePages(np.stack([page[0] for page in drawn]), np.stack([page[2] for page in drawn]), detail)


def _page(index: int, config: RunConfig, split: str, seed: int, third: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canvas, detail input at this page's resolution, and glyph records."""
    generator = np.random.default_rng([seed, SPLITS.index(as_split(split)), index])
    side = TILES * config.geometry.tile
    others = _task_blocks(generator, config, split, third)
    fonts, photos = of_third(content.fonts(split), third, split != "train"), of_third(content.photos(split), third, split != "train")
    heights = cap_heights(config.data.seam)
    scale = 32 / 14 * config.data.seam.page_scale
    size = round(side * scale)
    if generator.random() < config.data.seam.photo_share:
        page = render.photo_crop(generator, photos[int(generator.integers(len(photos)))], size, size)
    else:
        page = render.paper(generator, size, size)
    taken: list[render.Box] = []
    records = np.full((MAX_GLYPHS, RECORD), -1, np.float32)
    count = 0
    for _ in range(30):
        block = (
            next(others) if others and generator.random() < TASK_SHARE else _block(generator, fonts, heights, scale, config.geometry.patch)
        )
        width, height = block.size
        if width >= size or height >= size:
            continue
        x, y = int(generator.integers(size - width)), int(generator.integers(size - height))
        if count + len(block.marks) > MAX_GLYPHS or any(x < b[2] and b[0] < x + width and y < b[3] and b[1] < y + height for b in taken):
            continue
        taken.append((x, y, x + width, y + height))
        page[y : y + height, x : x + width] = block.rgb
        for mark in block.marks:
            x0, y0, x1, y1 = mark.box
            centre = (x + (x0 + x1) / 2, y + (y0 + y1) / 2)
            box = np.array([*centre, x1 - x0, y1 - y0]) / scale
            records[count] = (CLASSES[mark.name], COLOUR_INDEX[mark.colour], *box, LEGIBLE.get(mark.role, TOLD_FROM))
            count += 1
    turns = resolutions(config.geometry.grid)
    geometry = config.geometry.reference.model_copy(update={"detail_cells": turns[index % len(turns)], "canvases": ((side, side),)})
    prepared = prepare(Image.fromarray(page), geometry)
    assert prepared.detail is not None
    return join_tiles(prepared.tiles, TILES, TILES), prepared.detail, records


def _task_blocks(generator: np.random.Generator, config: RunConfig, split: str, third: int | None) -> Iterator[render.Block] | None:
    """Blocks of the suite's pages without end, of tasks beside `reading` and `coarse`; None where there are none."""
    tasks = {name: share for name, share in config.data.seam.tasks.items() if share > 0 and name not in ("reading", "coarse")}
    if not tasks:
        return None
    suite = SeamSuite(config.data.seam.model_copy(update={"tasks": tasks}), config.geometry.reference)

    def blocks() -> Iterator[render.Block]:
        while True:
            index = int(generator.integers(2**31))
            setup = suite.setup(split, index)
            setup = replace(setup, fonts=of_third(setup.fonts, third, split != "train"))
            yield from get_task(suite.heading(split, index)[0]).draft(setup).blocks

    return blocks()


def cap_heights(seam: SeamConfig) -> tuple[float, float]:
    """Range of the plates' cap heights, canvas pixels: wider than that of any item, of text below the canvas's legibility too."""
    low, high = CAP_HEIGHTS
    return (low if seam.below_height is None else min(low, BELOW * seam.below_height[0])), high


def _block(generator: np.random.Generator, fonts: Sequence[Path], heights: tuple[float, float], scale: float, patch: int) -> render.Block:
    plate = render.plate_colour(generator)
    margin = round(scale * generator.uniform(1.0, 2.5))
    if generator.random() < PANEL_SHARE:
        colour = content.PANEL_COLOURS[int(generator.integers(len(content.PANEL_COLOURS)))]
        layout = LAYOUTS[int(generator.integers(len(LAYOUTS)))]
        return render.panel_block(layout, colour, round(scale * generator.uniform(18, 28)), plate, margin)
    font = fonts[int(generator.integers(len(fonts)))]
    colour = list(content.COLOURS)[int(generator.integers(len(content.COLOURS)))]
    lines = []
    for role in ("key", "code") if generator.random() < 0.25 else ("code",):
        length = int(generator.integers(1, 5))
        text = "".join(ALPHABET[int(n)] for n in generator.integers(len(ALPHABET), size=length))
        lines.append((text, role, round(scale * generator.uniform(*heights))))
    spaced = max(cap for _, _, cap in lines) < scale * CAP_HEIGHTS[0]
    return render.text_block(lines, font, colour, plate, margin, pitch=round(scale * PITCH * patch) if spaced else 0)
