"""The instrument: items by construction, each a triplet of the same target cut by a seam, at its sham place, and intact; and, where
`data.seam.further_places` asks for it, on two seams and off its sham place by less than a patch.

A task (`fila_lab.data.seam.tasks`) says what stands on a page's blocks, what is asked and what the answer is; here the blocks get their
places, the page its background, and the item its truth. No question says anything about its answer; every task states its chance.

A page has exactly the aspect of its canvas and 32 * page_scale px per ViT patch, so nothing is padded and every scale is exact (an audit's
pages have as many px as their canvas). An item depends on the configuration, the split and its index alone: not on process or order.
`geometry.vit_scale` and `geometry.tiling` do not enter: a ViT that sees the canvas enlarged, or another canvas, reads the same items, and
their places are those towards the seams of the plain canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.data import HEIGHT_CLASSES, PLACES, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_pages import PATCH, check_heights, page_canvases
from fila_lab.data.seam import content, render
from fila_lab.data.seam.code_blocks import weighted
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.places import Axis, Box, Triplet, arrange
from fila_lab.data.seam.tasks import Draft, get_task
from fila_lab.data.streams import stream
from fila_lab.data.suite import Glyph, as_split


@dataclass(frozen=True)
class SeamItem:
    """One page with one question; the three items of a triplet share `item_id`.

    `target_box` is the target's plate (x0, y0, x1, y1) in page px, `target_ink` bool [h, w] the ink of what is asked inside it.
    """

    item_id: str
    split: str
    task: str
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
    evidence: str
    """Where the cut runs: `through` the ink of what is asked, or `apart`, between the two parts of the evidence."""
    height_class: str
    """One of HEIGHT_CLASSES; "" where no fine print is asked for."""

    @property
    def centre(self) -> tuple[float, float]:
        """Where the middle of the target's plate lies on the canvas, px."""
        x0, y0, x1, y1 = self.target_box
        scale = self.canvas[0] / self.image.width / 2
        return (x0 + x1) * scale, (y0 + y1) * scale

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
    """Items of the seam suite for one data and geometry configuration. FilaError where no canvas permits a triplet, or no page its text."""

    def __init__(self, seam: SeamConfig, geometry: GeometryConfig, patch: int | None = None) -> None:
        """`patch`: page px a ViT patch; None: by `data.seam.page_scale`."""
        self.seam, self.geometry = seam, geometry
        self.patch = PATCH * seam.page_scale if patch is None else patch
        self.tasks = [(name, share) for name, share in seam.tasks.items() if share > 0]
        if not self.tasks:
            raise FilaError(
                "data.seam.tasks has no task with a share above 0, so there is no item to make; give e.g. {reading: 0.85, coarse: 0.15}"
            )
        for name, _ in self.tasks:
            get_task(name).check(seam)
        check_heights(seam, self.patch / geometry.patch)
        self.canvases = page_canvases(geometry, seam)
        if not self.canvases:
            raise FilaError(
                f"geometry.canvases={[list(c) for c in geometry.canvases]}: no canvas has an axis where a cut target can move by whole "
                f"patches x tiles without touching a seam again (tile {geometry.tile}, patch {geometry.patch})"
                f"{_of_aspect(seam)}{_of_phase(seam)}; add a canvas with two tiles along {_axes(seam)}"
            )

    def axes(self, canvas: tuple[int, int]) -> tuple[Axis, Axis]:
        """The page's x and y axis for a canvas (width, height)."""
        tile, grid = self.geometry.tile, self.geometry.grid
        x, y = (Axis(side // tile, grid, self.patch, self.seam.stride_cells) for side in canvas)
        return x, y

    def _by_key(self, canvas: tuple[int, int]) -> float:
        """Share of key pages on a canvas: under four tiles a key leaves no room for other blocks, so larger canvases carry them all."""
        size = {c: c[0] * c[1] for c in self.canvases}
        large = [c for c in self.canvases if size[c] >= 4 * self.geometry.tile**2] or self.canvases
        return min(1.0, self.seam.by_key * sum(size.values()) / sum(size[c] for c in large)) if canvas in large else 0.0

    def _stream(self, split: str, index: int, name: str) -> np.random.Generator:
        return stream(self.seam.seed, split, index, name)

    def heading(self, split: str, index: int) -> tuple[str, tuple[int, int], str]:
        """(task, canvas, place of the single item), without drawing anything. Canvases are drawn by their number of tiles."""
        as_split(split)
        task, canvas, place = self._stream(split, index, "heading").random(3)
        weights = [float(width * height) for width, height in self.canvases]
        name = self.tasks[weighted(task, [share for _, share in self.tasks])][0]
        return name, self.canvases[weighted(canvas, weights)], self.seam.places[int(place * len(self.seam.places))]

    def height_class(self, split: str, index: int) -> str:
        """Whether an item's text is `legible` or `below` (`data.seam.below_share`); "" where its task asks for no fine print. Drawn from a
        stream of its own: legible items are those that there are without a second range."""
        if not get_task(self.heading(split, index)[0]).fine_print:
            return ""
        below = self.seam.below_share > 0 and self._stream(split, index, "height").random() < self.seam.below_share
        return HEIGHT_CLASSES[below]

    def item(self, split: str, index: int, place: str | None = None) -> SeamItem:
        """One item; without `place`, the place the item draws (those of `data.seam.places` are equally frequent)."""
        page = self._page(split, index)
        return self._at(page, place or self.heading(split, index)[2])

    def triplet(self, split: str, index: int) -> tuple[SeamItem, SeamItem, SeamItem]:
        """The item at its cut, sham and intact place."""
        page = self._page(split, index)
        return self._at(page, "cut"), self._at(page, "sham"), self._at(page, "intact")

    def placed(self, split: str, index: int) -> tuple[SeamItem, ...]:
        """The item at each of `data.seam.test_places`: its triplet, then the further places."""
        page = self._page(split, index)
        return tuple(self._at(page, place) for place in self.seam.test_places)

    def boxes(self, split: str, index: int) -> Triplet:
        """Where the target of an item stands at each place; nothing is painted."""
        setup = self.setup(split, index)
        return self._arranged(setup, get_task(self.heading(split, index)[0]).draft(setup))[1]

    def centres(self, split: str, index: int) -> dict[str, tuple[float, float]]:
        """Place -> where on the canvas the middle of the target's plate lies, px."""
        scale = self.geometry.patch / self.patch / 2
        return {place: ((x0 + x1) * scale, (y0 + y1) * scale) for place, (x0, y0, x1, y1) in self.boxes(split, index).boxes.items()}

    def _at(self, page: _Page, place: str) -> SeamItem:
        if place not in self.seam.test_places:
            raise FilaError(f"place={place!r} does not exist; choose one of {', '.join(self.seam.test_places)}")
        box = page.triplet[place]
        pixels = page.background.copy()
        pixels[box[1] : box[3], box[0] : box[2]] = page.target.rgb
        glyphs = _moved(page.target, box) + page.glyphs
        return SeamItem(
            place=place,
            image=Image.fromarray(pixels),
            target_box=box,
            target_ink=page.target.ink,
            glyphs=glyphs,
            **page.fields,  # type: ignore[arg-type]
        )

    def only(self, task: str) -> SeamSuite:
        """The same suite with items of one task alone. FilaError for an unknown task."""
        get_task(task)
        return SeamSuite(self.seam.model_copy(update={"tasks": {task: 1.0}}), self.geometry, self.patch)

    def unpainted(self, split: str, index: int) -> tuple[Draft, tuple[Glyph, ...]]:
        """A single item without its page: what is asked, and the glyphs where they lie, the target's first."""
        setup = self.setup(split, index)
        task, _, place = self.heading(split, index)
        draft = get_task(task).draft(setup)
        blocks, triplet, boxes, _ = self._arranged(setup, draft)
        places = [triplet[place], *boxes]
        return draft, tuple(g for block, box in zip(blocks, places, strict=True) if box is not None for g in _moved(block, box))

    def setup(self, split: str, index: int) -> PageSetup:
        """What the item's task knows of its page, its stream of random numbers at the beginning."""
        task, canvas, _ = self.heading(split, index)
        draw, below = self._stream(split, index, "page"), self.height_class(split, index) == "below"
        fonts = content.fonts(split, self.seam.fonts)
        size = self.seam.size_of(task)
        return PageSetup(self.seam, self.geometry, split, self.axes(canvas), draw, self._by_key(canvas), below, fonts, size)

    def _page(self, split: str, index: int) -> _Page:
        task, canvas, _ = self.heading(split, index)
        setup = self.setup(split, index)
        draft = get_task(task).draft(setup)
        blocks, triplet, boxes, shown = self._arranged(setup, draft)
        image_id, pixels = self._background(setup, index)
        glyphs: tuple[Glyph, ...] = ()
        for block, box in zip(blocks[1:], boxes, strict=True):
            if box is not None:
                pixels[box[1] : box[3], box[0] : box[2]] = block.rgb
                glyphs += _moved(block, box)
        fields: dict[str, object] = {
            "item_id": f"{split}-{task}-{index:06d}",
            "split": split,
            "task": task,
            "question": draft.question,
            "answer": draft.answer,
            "image_id": image_id,
            "cut_fraction": triplet.cut_fraction,
            "axis": triplet.axis,
            "addressing": draft.addressing,
            "length": draft.length,
            "canvas": canvas,
            "shown": tuple(place for place, box in zip(shown, boxes, strict=True) if box is not None),
            "evidence": "apart" if blocks[0].between else "through",
            "height_class": self.height_class(split, index),
        }
        return _Page(fields, pixels, blocks[0], triplet, glyphs)

    def _arranged(self, setup: PageSetup, draft: Draft) -> tuple[list[render.Block], Triplet, list[Box | None], list[str]]:
        """Blocks, the target's three places, a box for each distractor (None: left out), and the place each was to stand at."""
        draw, blocks = setup.draw, list(draft.blocks)
        placers = [setup.placer(block) for block in blocks]
        shown = [PLACES[int(draw.integers(3))] for _ in blocks[1:]]
        gap = max(1, self.patch // 14)
        triplet, boxes = arrange(draw, placers[0], placers[1:], shown, gap)
        if None in boxes and draft.smaller is not None:
            for i in (i for i, box in enumerate(boxes, 1) if box is None):
                blocks[i] = draft.smaller(blocks[i])
                placers[i] = setup.placer(blocks[i])
            triplet, boxes = arrange(draw, placers[0], placers[1:], shown, gap)
        return blocks, triplet, boxes, shown

    def _background(self, setup: PageSetup, index: int) -> tuple[str, np.ndarray]:
        """(image_id, uint8 [H, W, 3]): a photo or paper."""
        draw, width, height = setup.draw, setup.axes[0].length, setup.axes[1].length
        if draw.random() < self.seam.photo_share:
            names = content.photos(setup.split)
            image_id = names[int(draw.integers(len(names)))]
            return image_id, render.photo_crop(draw, image_id, width, height)
        return f"paper-{index:06d}", render.paper(draw, width, height)


def _axes(seam: SeamConfig) -> str:
    return "both axes, as data.seam.further_places=cross needs" if "cross" in seam.further_places else "an axis"


def _of_phase(seam: SeamConfig) -> str:
    return f" in the phase of data.seam.stride_cells={list(seam.stride_cells)}" if seam.stride_cells else ""


def _of_aspect(seam: SeamConfig) -> str:
    return "" if seam.page_aspect is None else f" and lies within data.seam.page_aspect={list(seam.page_aspect)}"


def _moved(block: render.Block, box: Box) -> tuple[Glyph, ...]:
    x, y = box[0], box[1]
    return tuple(Glyph(m.name, m.colour, m.role, (m.box[0] + x, m.box[1] + y, m.box[2] + x, m.box[3] + y)) for m in block.marks)
