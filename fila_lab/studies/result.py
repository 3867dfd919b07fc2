"""What a cell's `result.json` must look like: the schema that decides whether a cell is done."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Strict, without_usual
from fila_lab.config.renamed import SCHEMA

FailureKind = Literal["out_of_memory", "not_finite", "bad_input", "error"]


class Failure(Strict):
    """Why a cell failed."""

    kind: FailureKind
    message: str
    traceback: str = ""


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number: no text that looks like one, no true or false."""


class Pruned(Strict):
    """Where a search stopped the cell: training steps, and the validation there."""

    step: Annotated[int, Field(strict=True, ge=1)]
    value: Number | None


class CurvePoint(Strict):
    """One logged step; `validation` is null between validations. validation_loss, stage: the mean loss of an answer token there, and the
    training stage, of runs that have several."""

    step: Annotated[int, Field(strict=True)]
    loss: Number | None
    learning_rate: Number | None
    validation: Number | None = None
    validation_loss: Number | None = None
    stage: str | None = None

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(type(self), dump(self), ("validation_loss", "stage"))


class SetAsideRows(Strict):
    """Rows of one pool that were not used for one reason; `first` says of one of them what is wrong with it."""

    rows: Annotated[int, Field(strict=True, ge=1)]
    first: str


class AnswerCounts(Strict):
    """How many answers were given, how many of them `language.answer_tokens` cut off before their end, and how many said nothing."""

    given: Annotated[int, Field(strict=True, ge=0)]
    cut_off: Annotated[int, Field(strict=True, ge=0)]
    empty: Annotated[int, Field(strict=True, ge=0)] = 0


class CellResult(Strict):
    """`cells/<id>/result.json`. Numbers that are not finite are null: the file is JSON without NaN."""

    version: int = Field(SCHEMA, alias="schema", strict=True, ge=SCHEMA, le=SCHEMA)
    id: str = Field(min_length=1)
    status: Literal["done", "failed", "pruned"]
    config: dict[str, Any]
    metrics: dict[str, Number | None]
    validation: dict[str, Number | None]
    benchmarks: dict[str, dict[str, Number | None]] = Field(default={}, description="test -> figures of the benchmark's own")
    answers: dict[str, AnswerCounts] = Field(default={}, description="test, or `val` -> its answers")
    set_aside: dict[str, dict[str, SetAsideRows]] = Field(default={}, description="pool -> reason -> rows that were not used")
    curve: tuple[CurvePoint, ...] = ()
    timing: dict[str, Number | None] = Field(default={}, description="seconds by part, and images_per_second")
    failure: Failure | None = None
    pruned: Pruned | None = None

    @model_validator(mode="after")
    def _check(self) -> CellResult:
        if (self.status == "pruned") != (self.pruned is not None):
            raise ValueError(f"status = {self.status!r} with pruned = {self.pruned}")
        return self

    def dump(self) -> dict[str, Any]:
        """The dictionary that is written; `pruned` stands in the results of pruned cells alone."""
        return self.model_dump(mode="json", by_alias=True, exclude=None if self.pruned is not None else {"pruned"})


@dataclass(frozen=True, slots=True)
class Outline:
    """What of a result is kept in memory of every cell of a study: not its configuration, its curve, or a failure's traceback."""

    id: str
    status: str
    seed: int | None
    metrics: Mapping[str, float | None]
    validation: Mapping[str, float | None]
    timing: Mapping[str, float | None]
    failure: Failure | None

    @staticmethod
    def of(result: CellResult) -> Outline:
        failure = result.failure
        return Outline(
            id=result.id,
            status=result.status,
            seed=result.config.get("seed"),
            metrics=_shared(result.metrics),
            validation=_shared(result.validation),
            timing=_shared(result.timing),
            failure=None if failure is None else failure.model_copy(update={"traceback": ""}),
        )


def _shared(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """The same with names that are one object in all cells."""
    return {sys.intern(name): value for name, value in values.items()}


def without_nan(value: Any) -> Any:
    """The same structure with every number that is not finite replaced by None, and numpy scalars by Python's."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def encode(result: CellResult) -> str:
    """The text of a result file: sorted nowhere, finite everywhere, one trailing newline."""
    return json.dumps(result.dump(), allow_nan=False, indent=1) + "\n"


def failed(
    cell_id: str, config: dict[str, Any], kind: FailureKind, message: str, traceback: str = "", seconds: float | None = None
) -> dict[str, Any]:
    """The result of a cell that could not finish, for causes that its own code could not report (a killed worker, say)."""
    timing: dict[str, float | None] = {} if seconds is None else {"total": seconds}
    failure = Failure(kind=kind, message=message, traceback=traceback)
    result = CellResult(
        schema=SCHEMA, id=cell_id, status="failed", config=config, metrics={}, validation={}, timing=timing, failure=failure
    )
    return result.dump()
