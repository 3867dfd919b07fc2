"""The data of a run: where items come from, how the generated ones are made (`data.seam`), and how many are drawn. Imports no torch."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from fila_lab.config.base import Number, Positive, Seed, Strict, Whole, dumped
from fila_lab.config.suites import SEAM, EvaluationConfig, SuiteConfig, Suites, named

SeamTask = Literal["reading", "document", "table", "chart", "counting", "spatial", "attribute", "presence", "coarse"]
SEAM_TASKS: tuple[SeamTask, ...] = get_args(SeamTask)
"""The tasks of the seam suite; `fila_lab.data.seam.tasks` has a module for each."""

FINE_TASKS: tuple[SeamTask, ...] = tuple(task for task in SEAM_TASKS if task not in ("presence", "coarse"))
"""Those that ask for fine detail, which a seam can cut."""

Place = Literal["cut", "sham", "intact"]
PLACES: tuple[str, ...] = get_args(Place)
"""Where a target stands, in the order of a triplet."""

FurtherPlace = Literal["cross", "shift_1", "shift_2"]
FURTHER_PLACES: tuple[str, ...] = get_args(FurtherPlace)
"""Places beside a triplet's, where they are asked for: on two seams, in four tiles; and sham moved by one or two canvas pixels, less than a
patch, along the axis of the cut."""
SHIFTS: dict[str, int] = {"shift_1": 1, "shift_2": 2}
"""Canvas px by which a place is off the sham place."""
COUNT_TASKS: tuple[str, ...] = ("counting", "grid_counting")
"""Tasks whose answers are counts."""
CENTRE = ("target_x", "target_y")
"""Known columns of items with further places: where on the canvas the middle of the target's plate lies, px."""

HEIGHT_CLASSES: tuple[str, ...] = ("legible", "below")
"""Values of the known column `height_class`: text of `data.seam.text_height`, or of `below_height`; "" where no fine print is asked for."""

CUT_SHARE = 0.15
"""A target is cut when at least this share of its ink lies on each side of a seam."""


class SeamConfig(Strict):
    """The seam suite: what its items are and how hard."""

    tasks: dict[SeamTask, Number] = Field(default={"reading": 0.85, "coarse": 0.15}, description="task -> share of items")
    text_height: tuple[Number, Number] = Field(default=(9.0, 13.0), description="range of cap heights, canvas pixels")
    below_height: tuple[Number, Number] | None = Field(
        default=None,
        description="a second range, below what the ViT's tiles can show: cap heights of a share `below_share` of the pages that ask for "
        "characters (reading, document, table), spaced as legible ones are. Items then say their `height_class`",
    )
    below_share: Number = Field(default=0.0, ge=0, le=1, description="share of those pages with text of `below_height`")
    sizes: dict[SeamTask, Number] = Field(
        default={},
        description="task -> factor on the sizes of what its pages show (text of `text_height`, marks, panels): how hard it is; 1 where "
        "it is not named",
    )
    code_length: tuple[Number, Number, Number, Number] = Field(
        default=(0.4, 0.3, 0.2, 0.1), description="share of codes of 1..4 characters"
    )
    by_key: Number = Field(default=0.3, ge=0, le=1, description="share of reading questions that address by key; the rest by colour")
    codes_per_page: Positive = Field(default=4, description="blocks on a page, the target included; never more than the page has tiles")
    clutter: Whole = Field(default=0, ge=0, description="further distractors on each page, as far as there is room")
    fonts: Literal["all", "sans", "serif", "mono"] = Field(
        default="all", description="group of fonts; train and test have other fonts of it"
    )
    photo_share: Number = Field(default=0.5, ge=0, le=1, description="share of pages on a photo instead of paper: the content type")
    page_aspect: tuple[Number, Number] | None = Field(
        default=None, description="range of width / height of the canvases pages use; null: all of geometry.canvases"
    )
    places: tuple[Place | Literal["cross"], ...] = Field(
        default=get_args(Place), min_length=1, description="where targets of single items (train, val) stand; test has all three"
    )
    further_places: tuple[FurtherPlace, ...] = Field(
        default=(),
        description="places of test items beside the three. cross: on two seams, in four tiles, in the phase of cut and sham; all pages, "
        "of training too, then have canvases with such a place; shift_1, shift_2: sham moved by so many canvas pixels, a noise floor. "
        "Items then say where on the canvas their target lies",
    )
    stride_cells: tuple[Positive, ...] = Field(
        default=(),
        description="values of geometry.detail_cells at which sham places have the phase of cut places towards the ConvNeXt's stride too; "
        "the native one and its multiples always have it",
    )
    cut_share: tuple[Number, Number] = Field(default=(CUT_SHARE, 0.5), description="range of the smaller share of ink at cut places")
    evidence_apart: Number = Field(
        default=0.0, ge=0, le=1, description="share of items asked by key, label or row whose seam runs between it and the value"
    )
    page_scale: Positive = Field(default=2, description="page pixels per native detail pixel (32/14 of the canvas)")
    seed: Seed = Field(default=0, description="of what the pools hold; the same for all arms and seeds of a run")

    @field_validator("further_places")
    @classmethod
    def _in_order(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        """Each once, in the order of items: equal suites are equal."""
        return tuple(place for place in FURTHER_PLACES if place in places)

    @field_validator("stride_cells")
    @classmethod
    def _ascending(cls, cells: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(cells)))

    def size_of(self, task: str) -> float:
        """Factor on the sizes of what a task's pages show."""
        return next((factor for name, factor in self.sizes.items() if name == task), 1.0)

    @property
    def test_places(self) -> tuple[str, ...]:
        """Where a test item's target stands, in order."""
        return (*PLACES, *self.further_places)

    @model_validator(mode="after")
    def _check(self) -> SeamConfig:
        if "cross" in self.places and "cross" not in self.further_places:
            raise ValueError("places: pages have no place on two seams unless it is asked for; add cross to further_places")
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Records from before there were these fields stay as they are."""
        return dumped(self, dump, info, ("further_places", "stride_cells", "below_height", "below_share", "sizes"))


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # `validate` is also the name of a method that pydantic keeps from its first version

    class DataConfig(Strict):
        """Where items come from, and how many. Pools are fixed; a seed draws its training items from the pool."""

        train: Suites = Field(default=(SuiteConfig(),), description="what is trained on: a suite, or a list of them")
        validate: Suites | None = Field(  # type: ignore[assignment]
            default=None, description="what is validated on; null: the `val` rows of the training suites"
        )
        evaluate: dict[str, EvaluationConfig] = Field(
            default={SEAM: EvaluationConfig(suite=SEAM)}, description="what cells are tested on: name -> suite"
        )
        seam: SeamConfig = SeamConfig()
        train_pool: Positive = Field(default=12000, description="items of the seam suite's training pool")
        train_items: Positive | None = Field(default=8000, description="items a seed draws from the pool; null: all")
        train_tasks: tuple[str, ...] | None = Field(
            default=None, description="train a specialist: of the items a seed draws, only those of these tasks; tests stay. null: all"
        )
        val_items: Positive | None = Field(default=400, description="validation items a seed draws; null: all")
        val_pool: Positive = Field(default=1600, description="items of the seam suite's validation pool")
        test_triplets: Positive = Field(default=2000, description="the seam suite's fixed test pool, tasks together")
        bad_rows: Number = Field(default=0.01, ge=0, lt=1, description="share of rows that may be unusable before a cell stops")
        workers: Whole = Field(default=1, ge=0, description="processes that read and prepare files; changes no result")

        @field_validator("evaluate")
        @classmethod
        def _names(cls, suites: dict[str, EvaluationConfig]) -> dict[str, EvaluationConfig]:
            """Every entry has a name of its own, and its suite's."""
            for name in suites:
                if name in ("train", "val") or not name or "/" in name:
                    why = "that is a split" if name in ("train", "val") else "metrics are named by it"
                    raise ValueError(f"{name}: a test cannot be called so, for {why}; choose another name, without a slash")
            return named(suites)

        @property
        def suites(self) -> tuple[SuiteConfig, ...]:
            """All its suites: those of training, of validation, of tests."""
            validate: tuple[SuiteConfig, ...] = self.validate or ()
            return (*self.train, *validate, *self.evaluate.values())

        @property
        def draws_seam(self) -> bool:
            """Whether any of its items are the seam suite's."""
            return any(one.suite == SEAM for one in self.suites)

        @property
        def generated(self) -> bool:
            """Whether all of its items are the seam suite's."""
            return all(one.suite == SEAM for one in self.suites)
