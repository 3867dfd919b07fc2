"""Entities at nine places of a blank page: identification, position, counting.

The idea is EntityGrid-QA's (HiRes-LLaVA, arXiv 2407.08706), of which neither pages nor questions are public; entities here are coloured
shapes, and pages are drawn from their number. It is a measure from outside, and a coarser one than the seam suite: places differ in their
phase towards patches and in where on the page they lie, not only in seams, and its discrepancies are small for a model that is bad
everywhere (`evaluation.aggregates.entity_grid`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.entity_grid.page import PLACES, entities, paint, place_class
from fila_lab.data.streams import stream
from fila_lab.data.suite import SPLITS, Heading, ImageFile, Item, Opening, Suite, TaskRule, Turn, register_suite

SCHEMA = 1
"""Version of the pages: one that draws others from the same settings needs another."""
PATCH = 64
"""Page px a ViT patch."""
TASKS = ("grid_identification", "grid_position", "grid_counting")
_QUESTIONS = {
    "grid_identification": "What is drawn on the page? Answer with its colour and shape.",
    "grid_position": "Where is the {}? Answer with a row (top, middle, bottom) and a column (left, centre, right).",
    "grid_counting": "How many shapes are drawn on the page? Answer with a number.",
}


class EntityGrid(Suite):
    """`items` pages a split: every task at every place equally often. FilaError where pages are not cut into 2 x 2 tiles."""

    name = "entity_grid"

    def __init__(self, geometry: GeometryConfig, items: int = 900, side: float = 0.45, seed: int = 0) -> None:
        """side: of an entity, over a tile's."""
        canvas = (2 * geometry.tile, 2 * geometry.tile)
        self.page = 2 * geometry.grid * PATCH
        chosen = choose_canvas(self.page, self.page, geometry.canvases, geometry.canvas_rule)
        if chosen != canvas:
            there = [list(one) for one in geometry.canvases]
            sides = (self.page, self.page)
            better = [list(own) for own in geometry.canvases if choose_canvas(*sides, (canvas, own), geometry.canvas_rule) != canvas]
            remedies = [] if list(canvas) in there else [f"add {list(canvas)}"]
            remedies += [f"leave out {', '.join(map(str, better))}"] if better else []
            raise FilaError(
                f"suite 'entity_grid' cuts its square pages into 2x2 tiles, but of geometry.canvases={there} they go on {list(chosen)}; "
                f"{' and '.join(remedies)}"
            )
        if items < 1 or not 0.05 <= side <= 0.45:
            raise FilaError(
                f"suite 'entity_grid': items={items}, side={side:g}; give at least one item, and a side between 0.05 and 0.45 of a tile"
            )
        self.items_, self.side, self.seed = items, side, seed

    def tasks(self) -> Mapping[str, TaskRule]:
        return {name: TaskRule("exact_nocase", aggregate="entity_grid") for name in TASKS}

    def splits(self) -> Sequence[str]:
        return SPLITS

    def length(self, split: str) -> int:
        return self.items_

    def heading(self, split: str, index: int) -> Heading:
        return Heading(TASKS[index % 3], (self.page, self.page))

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        task, place = TASKS[index % 3], index // 3 % 9
        draw = stream(self.seed, "entity_grid", split, index)
        count = 1 + int(draw.integers(2)) if task == "grid_counting" else 1
        shown, across = entities(draw, count), bool(draw.integers(2))
        size = round(self.side * self.page / 2)
        answer = {"grid_identification": shown[0].name, "grid_position": PLACES[place], "grid_counting": str(count)}[task]
        name = f"{split}-{task}-{index:06d}"
        return (
            Item(
                item_id=name,
                task=task,
                image_id=name,
                turns=(Turn(_QUESTIONS[task].format(shown[0].name), (answer,)),),
                image=ImageFile(name, partial(paint, self.page, place, shown, size, across)),
                known={"where": place_class(place), "cell": PLACES[place]},
            ),
        )

    def identity(self, split: str) -> str:
        state = {"schema": SCHEMA, "split": split, "items": self.items_, "side": self.side, "seed": self.seed, "page": self.page}
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]

    def code(self) -> Sequence[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(__file__).parent.glob("*.py"))]


@register_suite("entity_grid")
def open_entity_grid(opening: Opening) -> EntityGrid:
    """FilaError for options it does not have."""
    known = {"items": int, "side": float, "seed": int}
    for name, value in opening.options.items():
        if name not in known:
            raise FilaError(f"suite 'entity_grid' has no option {name!r}{did_you_mean(name, known)}; it has {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | known[name]):
            raise FilaError(f"suite 'entity_grid': {name}={value!r} is no {'number' if known[name] is float else 'whole number'}")
    return EntityGrid(opening.geometry, **opening.options)
