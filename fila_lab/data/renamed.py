"""A suite whose only task goes by another name: that of the entry in `data.evaluate` that opened it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fila_lab.config.hashing import config_hash
from fila_lab.data.suite import Heading, Item, SetAside, Suite, TaskRule


class Renamed(Suite):
    """`suite` with its one task called `task`."""

    def __init__(self, suite: Suite, task: str) -> None:
        self.suite, self.task = suite, task
        self.name = suite.name  # type: ignore[misc]
        self.stored = suite.stored  # type: ignore[misc]
        self.oracle = suite.oracle

    def tasks(self) -> Mapping[str, TaskRule]:
        (rule,) = self.suite.tasks().values()
        return {self.task: rule}

    def splits(self) -> Sequence[str]:
        return self.suite.splits()

    def length(self, split: str) -> int:
        return self.suite.length(split)

    def heading(self, split: str, index: int) -> Heading:
        return replace(self.suite.heading(split, index), task=self.task)

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        return tuple(replace(item, task=self.task) for item in self.suite.items(split, index))

    def identity(self, split: str) -> str:
        return config_hash({"items": self.suite.identity(split), "task": self.task})

    def code(self) -> Sequence[str]:
        return self.suite.code()

    def set_aside(self, split: str) -> Sequence[SetAside]:
        return self.suite.set_aside(split)
