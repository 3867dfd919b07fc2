"""Where items come from, as a run says it: suites by name, with their files and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, JsonValue

from fila_lab.config.base import Number, Positive, Strict

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SEAM = "seam"
"""The generated suite: the one that the laboratory's own questions are about."""
GENERATED = (SEAM, "entity_grid")
"""Suites that draw their items, and need no files."""


class SuiteConfig(Strict):
    """One suite: `seam`, `llava`, a public benchmark, or one from another package (entry-point group `fila_lab.suites`)."""

    suite: str = Field(default=SEAM, min_length=1, description="its name")
    path: str | None = Field(default=None, description="its file or folder")
    images: str | None = Field(default=None, description="the folder that image paths are relative to; null: where the file lies")
    definition: str | None = Field(default=None, description="a YAML that describes the files of a benchmark of your own")
    limit: Positive | None = Field(default=None, description="only so many rows, the first")
    share: Number = Field(default=1.0, gt=0, description="weight of this suite where several are mixed for training")
    options: dict[str, JsonValue] = Field(default={}, description="what else the suite understands")

    @property
    def opening(self) -> dict[str, Any]:
        """What the suite is opened with: all that was given, but how many rows and what share a run takes of it."""
        named = {name: getattr(self, name) for name in ("path", "images", "definition")}
        return {name: value for name, value in named.items() if value is not None} | self.options


class EvaluationConfig(SuiteConfig):
    """A suite that arms are tested on; its task is named by the entry's name where it has but one (the seam suite's keep their names)."""

    suite: str = Field(default="", description="its name; the entry's own where none is given")


def named(suites: Mapping[str, EvaluationConfig]) -> dict[str, EvaluationConfig]:
    """Every entry with its suite's name: the entry's where it gives none, `benchmark` where it has a definition of its own."""
    return {
        name: config if config.suite else config.model_copy(update={"suite": "benchmark" if config.definition else name})
        for name, config in suites.items()
    }


def _listed(content: Any) -> Any:
    """A suite alone stands for a list of one."""
    return [content] if isinstance(content, Mapping | SuiteConfig) else content


Suites = Annotated[tuple[SuiteConfig, ...], Field(min_length=1), BeforeValidator(_listed)]
"""One suite or several, in shares."""
