"""The audit of one model on one task: a text height it can read, then triplets at that height."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.data.parallel import Progress
from fila_lab.data.seam import SeamItem, SeamSuite
from fila_lab.data.seam.tasks import get_task
from fila_lab.hub.audit.figures import Figures, beats_chance, figures_of
from fila_lab.hub.audit.pages import SPLIT, Page, check_task
from fila_lab.hub.audit.questions import right, sentence
from fila_lab.hub.audit.readers import Asked, Reader
from fila_lab.hub.audit.staircase import BLOCK, MOST_BLOCKS, heights, settle

SEARCH_FROM = 1_000_000
"""Index of the first item by which a text height is looked for; triplets are numbered from 0, so that no item is asked twice."""
CONFIRM = 32
"""Further intact items by which it is judged whether the model reads at all at the height that was found."""
KNOWN = ("item_id", "task", "place", "image_id", "cut_fraction", "axis", "length", "evidence")
"""What answers carry of their items."""
T = TypeVar("T")
Wording = Callable[[SeamItem], str]
AT_ONCE = 16
"""Triplets that are drawn before they are asked."""


@dataclass(frozen=True)
class Audit:
    """What was found. `tried`: text height -> (right, asked), intact items; `end`: the end of the heights where the search stopped, ""
    where it settled or the height was given; `confirmed`: (right, asked) at `height`; `answers`: a row for each place of each triplet,
    and `figures` of them, where the model reads at all."""

    task: str
    page: Page
    chance: float
    tried: dict[int, tuple[int, int]]
    end: str
    height: int
    confirmed: tuple[int, int]
    figures: Figures | None = None
    answers: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    @property
    def reads(self) -> bool:
        """Whether more intact items were read than guessing gives."""
        return beats_chance(*self.confirmed, self.chance)


def audit(
    reader: Reader,
    page: Page,
    task: str,
    triplets: int,
    height: int | None = None,
    progress: Progress | None = None,
    wording: Wording = sentence,
) -> Audit:
    """Ask a reader the items of one task on its own pages. A model that cannot read is asked no triplets.

    Args:
        reader: whom to ask.
        page: of `page_of`.
        task: of the seam suite.
        triplets: how many, three questions each.
        height: text height in px; None: looked for.
        progress: told how far it is.
        wording: what is asked about an item.

    Raises:
        ConfigError: an unknown task, or a height that no page can have.
        FilaError: no item can be drawn so.
    """
    check_task(task)
    page.check_height(height)
    smallest, tallest = page.heights
    search = _Search(reader, page, task, progress, wording)
    chance = get_task(task).chance(page.suite(task, tallest).seam, page.suite(task, tallest).geometry)
    tried: dict[int, tuple[int, int]] = {}
    end = ""
    if height is None:
        settled = settle(search.block, heights(smallest, tallest), chance)
        tried, end, height = settled.tried, settled.end, settled.height
    confirmed = (search.ask(height, CONFIRM), CONFIRM)
    found = Audit(task, page, chance, tried, end, height, confirmed)
    if not found.reads:
        return found
    answers = ask_triplets(reader, page.suite(task, height), triplets, progress, wording)
    return Audit(task, page, chance, tried, end, height, confirmed, figures_of(answers), answers)


def ask_triplets(reader: Reader, suite: SeamSuite, triplets: int, progress: Progress | None, wording: Wording) -> pd.DataFrame:
    """A row for each place of each triplet: what was asked, said and true, and what is known of the item."""
    rows: list[dict[str, object]] = []
    numbers = count()
    for start in range(0, triplets, AT_ONCE):
        taken = drawn(lambda index: suite.triplet(SPLIT, index), numbers, min(AT_ONCE, triplets - start))
        items = [item for triplet in taken for item in triplet]
        rows += answered(reader, items, wording)
        if progress:
            progress(f"{items[0].task}: triplets", len(rows) // 3, triplets)
    return pd.DataFrame(rows)


def drawn(draw: Callable[[int], T], numbers: Iterator[int], wanted: int) -> list[T]:
    """What is drawn for the next numbers, those passed over for which it cannot be: where a table or a pair finds no place to be cut.

    Raises:
        FilaError: hardly any can be drawn.
    """
    found: list[T] = []
    for tried, number in enumerate(numbers, 1):
        try:
            found.append(draw(number))
        except FilaError:
            if tried > 4 * wanted:
                raise
        if len(found) == wanted:
            break
    return found


def answered(reader: Reader, items: Sequence[SeamItem], wording: Wording) -> Iterator[dict[str, object]]:
    """A row for each item, with the reader's answer."""
    asked = [Asked(item, wording(item)) for item in items]
    for one, said in zip(asked, reader(asked), strict=True):
        item = one.item
        told = {"question": one.question, "answer": item.answer, "said": said, "correct": right(said, item.answer)}
        yield {name: getattr(item, name) for name in KNOWN} | told


class _Search:
    """Fresh intact items at any height."""

    def __init__(self, reader: Reader, page: Page, task: str, progress: Progress | None, wording: Wording) -> None:
        self.reader, self.page, self.task, self.progress, self.wording = reader, page, task, progress, wording
        self.numbers, self.blocks = count(SEARCH_FROM), 0

    def ask(self, height: int, wanted: int) -> int:
        """How many of `wanted` items are right."""
        suite = self.page.suite(self.task, height)
        items = drawn(lambda index: suite.item(SPLIT, index, "intact"), self.numbers, wanted)
        return sum(bool(row["correct"]) for row in answered(self.reader, items, self.wording))

    def block(self, height: int) -> int:
        self.blocks += 1
        found = self.ask(height, BLOCK)
        if self.progress:
            self.progress(f"{self.task}: looking for a text height", self.blocks, MOST_BLOCKS)
        return found
