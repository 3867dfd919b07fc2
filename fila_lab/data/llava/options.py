"""What the suite `llava` is opened with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from fila_lab.config.base import Number, Positive, Seed, Strict
from fila_lab.config.errors import config_error
from fila_lab.config.suites import Split

Paths = str | tuple[str, ...]


class LlavaOptions(Strict):
    """Files in LLaVA's format, and what is done with them."""

    path: Paths = Field(
        description="JSON list, JSON lines, parquet, a YAML that mixes several (datasets: [{json_path, sampling_strategy}]), a folder "
        "with {train,val,test}.json or .jsonl or {split}-*.parquet, or a list of files"
    )
    images: Paths | None = Field(
        default=None, description="folder or folders that image paths are relative to; null: where each file lies, or the folder itself"
    )
    split: Split | None = Field(
        default=None, description="what the rows of files are; null: what the file is called (val.json), else train"
    )
    validate_share: Number = Field(
        default=0.0, ge=0, lt=1, description="share of the training images (and text-only rows) that are the split val instead"
    )
    task: str = Field(
        default="file", min_length=1, description="file: a task a file, by its name; data_source: by that field; else the one task's name"
    )
    seed: Seed = Field(default=0, description="of sampling_strategy random:N and of validate_share")
    limit: Positive | None = Field(default=None, description="only so many rows of a split, the first")
    max_pixels: Positive = Field(default=64_000_000, description="larger images are set aside: width times height, px")

    @field_validator("path", "images")
    @classmethod
    def _not_empty(cls, value: Paths | None) -> Paths | None:
        if value is not None and (not value or not all(value)):
            raise ValueError("an empty path; name a file or folder")
        return value

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> LlavaOptions:
        """ConfigError where an option is unknown or has no such value."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise config_error(error, cls, source="suite llava") from None


def as_list(paths: Paths) -> tuple[str, ...]:
    """One path or several."""
    return (paths,) if isinstance(paths, str) else tuple(paths)
