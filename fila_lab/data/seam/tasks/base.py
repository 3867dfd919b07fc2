"""The contract of a task: what stands on a page's blocks, what is asked, and what the answer is.

A task draws the target's block and those of the distractors; where they stand, the triplet's three places, the background and the truth
records are common to all (`fila_lab.data.seam.suite`). Each is a subclass of `Task`, in a module of the
task's name, with its instance as `TASK`; `fila_lab.config.data` owns the names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam import render
from fila_lab.data.seam.page_setup import PageSetup

Replace = Callable[[render.Block], render.Block]


@dataclass(frozen=True)
class Draft:
    """What a page carries, before anything has a place. `blocks`: the target's first, then the distractors'."""

    blocks: list[render.Block]
    question: str
    answer: str
    addressing: str = ""
    """What names the target: a colour, key, label, row, cell or pair; nothing where there is but one that could be meant."""
    length: int = 0
    """Characters to read, where the answer is a string that stands on the page."""
    smaller: Replace | None = None
    """A smaller block in place of a distractor that found no room."""


class Task(ABC):
    """One task. Neither the question nor the form of the page says anything about the answer."""

    benchmark: ClassVar[str]
    """The public benchmark it stands for."""
    about: ClassVar[str]
    """One sentence: what is seen, asked and answered."""
    fine_print: ClassVar[bool] = False
    """Whether its answer is characters, which the text height decides if they can be read."""
    most_marks: ClassVar[int]
    """At most so many glyphs and marks on one block, for the size of the truth records."""

    @abstractmethod
    def draft(self, page: PageSetup) -> Draft:
        """Blocks, question and answer of one page; draws from `page.draw` alone. FilaError where nothing fits."""

    def check(self, seam: SeamConfig) -> None:
        """FilaError for settings with which no page of the task can be drawn."""
        return

    @abstractmethod
    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        """Share of test items the best constant answer gets right, at most: what the question alone is worth."""
