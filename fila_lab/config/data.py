"""The data of a run: how the generated items are made (`data.seam`), and how many are drawn and trained on. Nothing here imports torch."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from fila_lab.config.base import Number, Positive, Seed, Strict, Whole

SeamTask = Literal["reading", "document", "table", "chart", "counting", "spatial", "attribute", "presence", "coarse"]
SEAM_TASKS: tuple[SeamTask, ...] = get_args(SeamTask)
"""The tasks of the seam suite; `fila_lab.data.seam.tasks` has a module for each."""

Place = Literal["cut", "sham", "intact"]
PLACES: tuple[str, ...] = get_args(Place)
"""Where a target stands, in the order of a triplet."""

CUT_SHARE = 0.15
"""A target is cut when at least this share of its ink lies on each side of a seam."""


class SeamConfig(Strict):
    """The seam suite: what its items are and how hard."""

    tasks: dict[SeamTask, Number] = Field(default={"reading": 0.85, "coarse": 0.15}, description="task -> share of items")
    text_height: tuple[Number, Number] = Field(default=(9.0, 13.0), description="range of cap heights, canvas pixels")
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
    places: tuple[Place, ...] = Field(
        default=get_args(Place), min_length=1, description="where targets of single items (train, val) stand; test has all three"
    )
    cut_share: tuple[Number, Number] = Field(default=(CUT_SHARE, 0.5), description="range of the smaller share of ink at cut places")
    evidence_apart: Number = Field(
        default=0.0, ge=0, le=1, description="share of items asked by key, label or row whose seam runs between it and the value"
    )
    page_scale: Positive = Field(default=2, description="page pixels per native detail pixel (32/14 of the canvas)")
    seed: Seed = 0


class DataConfig(Strict):
    """The items: how many. Pools are fixed; a seed draws its training items from the pool."""

    seam: SeamConfig = SeamConfig()
    train_pool: Positive = 12000
    train_items: Positive = Field(default=8000, description="items a seed draws from the pool")
    train_tasks: tuple[str, ...] | None = Field(
        default=None, description="train a specialist: of the items a seed draws, only those of these tasks; tests are on all. null: all"
    )
    val_items: Positive = Field(default=400, description="validation items a seed draws")
    val_pool: Positive = 1600
    test_triplets: Positive = Field(default=2000, description="fixed test pool, tasks together")
