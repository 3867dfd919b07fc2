"""The instrument: items by construction, each a triplet of the same target cut by a seam, at its sham place, and intact.

*reading*: a page carries code blocks; the question addresses one by its colour ("red?") or by the key above it ("FR?"); the answer is
the code. *coarse*: a page carries one panel among code blocks; the question is "layout?", the answer two words ("red top"), recognisable
at the overview's resolution. No question says anything about its answer: chance is 1/35 x 40 % for reading and 1/60 for coarse.

A page has exactly the aspect of its canvas and 32 * page_scale px per ViT patch, so nothing is padded and every scale is exact. An item
depends on the configuration, the split and its index alone: not on process or order. `geometry.vit_scale` and `geometry.tiling` do not
enter: a ViT that sees the canvas enlarged, or another canvas, reads the same items, and their places are those towards the seams of the
plain canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.run import DataConfig, GeometryConfig
from fila_lab.data import content, render
from fila_lab.data.code_blocks import CodeBlocks, weighted
from fila_lab.data.places import PLACES, Axis, Box, Placer, Triplet, arrange, cut_tables
from fila_lab.data.streams import stream
from fila_lab.imaging import choose_canvas

PANEL_SIDE = (22 / 14, 26 / 14)
"""Range of a coarse panel's side, in patches."""


@dataclass(frozen=True)
class Glyph:
    """A character, or a panel's layout, on the page; box (x0, y0, x1, y1) of its ink in page px, half-open."""

    char: str
    colour: str
    role: str  # "code", "key" or "panel"
    box: Box

    @property
    def key(self) -> bool:
        return self.role == "key"


@dataclass(frozen=True)
class Item:
    """One page with one question; the three items of a triplet share `item_id`.

    `target_box` is the target's plate (x0, y0, x1, y1) in page px, `target_ink` bool [h, w] the ink of what is asked inside it.
    """

    item_id: str
    split: str
    family: str
    place: str
    image: Image.Image
    question: str
    answer: str
    target_box: Box
    target_ink: np.ndarray
    cut_fraction: float
    axis: str
    image_id: str
    addressing: str
    length: int
    canvas: tuple[int, int]
    glyphs: tuple[Glyph, ...]
    shown: tuple[str, ...]
    """The places at which the distractors stand."""

    @cached_property
    def ink(self) -> np.ndarray:
        """The target's ink as a bool mask of the page, [H, W]."""
        mask = np.zeros((self.image.height, self.image.width), bool)
        x0, y0, x1, y1 = self.target_box
        mask[y0:y1, x0:x1] = self.target_ink
        return mask


@dataclass(frozen=True)
class _Page:
    """Everything of an item but its place."""

    fields: dict[str, object]
    background: np.ndarray
    target: render.Block
    triplet: Triplet
    glyphs: tuple[Glyph, ...]


class SeamSuite:
    """Items of the seam suite for one data and geometry configuration. FilaError where no canvas permits a triplet."""

    def __init__(self, data: DataConfig, geometry: GeometryConfig) -> None:
        self.data, self.geometry = data, geometry
        self.patch = 32 * data.page_scale
        self.families = [(name, share) for name, share in data.families.items() if share > 0]
        if not self.families:
            raise FilaError(
                "data.families has no family with a share above 0, so there is no item to make; give e.g. {reading: 0.85, coarse: 0.15}"
            )
        if data.codes_per_page > len(content.COLOURS):
            raise FilaError(
                f"data.codes_per_page={data.codes_per_page}: only {len(content.COLOURS)} colours tell codes apart; choose fewer"
            )
        self.canvases = [canvas for canvas in geometry.canvases if self._permits(canvas)]
        if not self.canvases:
            raise FilaError(
                f"geometry.canvases={[list(c) for c in geometry.canvases]}: no canvas has an axis where a cut target can move by whole "
                f"patches x tiles without touching a seam again (tile {geometry.tile}, patch {geometry.patch}); "
                "add a canvas with two tiles along an axis"
            )

    def axes(self, canvas: tuple[int, int]) -> tuple[Axis, Axis]:
        """The page's x and y axis for a canvas (width, height)."""
        x, y = (Axis(side // self.geometry.tile, self.geometry.grid, self.patch) for side in canvas)
        return x, y

    def _permits(self, canvas: tuple[int, int]) -> bool:
        axes = self.axes(canvas)
        one_patch = np.ones(self.patch)
        chosen = choose_canvas(axes[0].length, axes[1].length, self.geometry.canvases, self.geometry.canvas_rule)
        return tuple(chosen) == tuple(canvas) and any(cut_tables(axis, one_patch) for axis in axes)

    def _by_key(self, canvas: tuple[int, int]) -> float:
        """Share of key pages on a canvas: under four tiles a key leaves no room for other blocks, so larger canvases carry them all."""
        size = {c: c[0] * c[1] for c in self.canvases}
        large = [c for c in self.canvases if size[c] >= 4 * self.geometry.tile**2] or self.canvases
        return min(1.0, self.data.by_key * sum(size.values()) / sum(size[c] for c in large)) if canvas in large else 0.0

    def _stream(self, split: str, index: int, name: str) -> np.random.Generator:
        return stream(self.data.suite_seed, split, index, name)

    def heading(self, split: str, index: int) -> tuple[str, tuple[int, int], str]:
        """(family, canvas, place of the single item), without drawing anything. Canvases are drawn by their number of tiles."""
        content.as_split(split)
        family, canvas, place = self._stream(split, index, "heading").random(3)
        weights = [float(width * height) for width, height in self.canvases]
        name = self.families[weighted(family, [share for _, share in self.families])][0]
        return name, self.canvases[weighted(canvas, weights)], PLACES[int(place * len(PLACES))]

    def item(self, split: str, index: int, place: str | None = None) -> Item:
        """One item; without `place`, the place the item draws (the three are equally frequent)."""
        page = self._page(split, index)
        return self._at(page, place or self.heading(split, index)[2])

    def triplet(self, split: str, index: int) -> tuple[Item, Item, Item]:
        """The item at its cut, sham and intact place."""
        page = self._page(split, index)
        return self._at(page, "cut"), self._at(page, "sham"), self._at(page, "intact")

    def _at(self, page: _Page, place: str) -> Item:
        if place not in PLACES:
            raise FilaError(f"place={place!r} does not exist; choose one of {', '.join(PLACES)}")
        box = page.triplet[place]
        pixels = page.background.copy()
        pixels[box[1] : box[3], box[0] : box[2]] = page.target.rgb
        glyphs = _moved(page.target, box) + page.glyphs
        return Item(
            place=place,
            image=Image.fromarray(pixels),
            target_box=box,
            target_ink=page.target.ink,
            glyphs=glyphs,
            **page.fields,  # type: ignore[arg-type]
        )

    def _page(self, split: str, index: int) -> _Page:
        family, canvas, _ = self.heading(split, index)
        draw = self._stream(split, index, "page")
        axes = self.axes(canvas)
        keyed = family == "reading" and draw.random() < self._by_key(canvas)
        codes = CodeBlocks(self.data, self.geometry, split, axes, draw, keyed)
        count = min(self.data.codes_per_page, axes[0].tiles * axes[1].tiles)
        blocks = [codes.block() for _ in range(count)]
        if family == "coarse":
            layout = content.LAYOUTS[int(draw.integers(len(content.LAYOUTS)))]
            colour = content.PANEL_COLOURS[int(draw.integers(len(content.PANEL_COLOURS)))]
            side = round(self.patch * draw.uniform(*PANEL_SIDE))
            blocks[0] = render.panel_block(layout, colour, side, codes.plate, codes.margin)
            question, answer, addressing, length = "layout?", f"{colour} {layout}", "", 0
        else:
            answer = "".join(mark.name for mark in blocks[0].marks if mark.role == "code")
            key = "".join(mark.name for mark in blocks[0].marks if mark.role == "key")
            question, addressing, length = f"{key or blocks[0].marks[0].colour}?", "key" if key else "colour", len(answer)

        placers = [Placer(block.ink, axes) for block in blocks]
        shown = [PLACES[int(draw.integers(3))] for _ in blocks[1:]]
        gap = max(1, self.patch // 14)
        triplet, boxes = arrange(draw, placers[0], placers[1:], shown, gap)
        if None in boxes and not keyed:
            # Where a distractor does not fit at its place, a short one may: else distractors would be cut less often than targets.
            for i in (i for i, box in enumerate(boxes, 1) if box is None):
                blocks[i] = codes.block(length=1, colour=blocks[i].marks[0].colour)
                placers[i] = Placer(blocks[i].ink, axes)
            triplet, boxes = arrange(draw, placers[0], placers[1:], shown, gap)

        width, height = axes[0].length, axes[1].length
        if draw.random() < self.data.photo_share:
            names = content.photos(split)
            image_id = names[int(draw.integers(len(names)))]
            pixels = render.photo_crop(draw, image_id, width, height)
        else:
            image_id, pixels = f"paper-{index:06d}", render.paper(draw, width, height)
        glyphs: tuple[Glyph, ...] = ()
        for block, box in zip(blocks[1:], boxes, strict=True):
            if box is not None:
                pixels[box[1] : box[3], box[0] : box[2]] = block.rgb
                glyphs += _moved(block, box)
        fields: dict[str, object] = {
            "item_id": f"{split}-{family}-{index:06d}",
            "split": split,
            "family": family,
            "question": question,
            "answer": answer,
            "image_id": image_id,
            "cut_fraction": triplet.cut_fraction,
            "axis": triplet.axis,
            "addressing": addressing,
            "length": length,
            "canvas": canvas,
            "shown": tuple(place for place, box in zip(shown, boxes, strict=True) if box is not None),
        }
        return _Page(fields, pixels, blocks[0], triplet, glyphs)


def _moved(block: render.Block, box: Box) -> tuple[Glyph, ...]:
    x, y = box[0], box[1]
    return tuple(Glyph(m.name, m.colour, m.role, (m.box[0] + x, m.box[1] + y, m.box[2] + x, m.box[3] + y)) for m in block.marks)
