"""What every reader of a cell's result and predictions relies on, in whatever form they are kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fila_lab.config.renamed import SCHEMA

if TYPE_CHECKING:
    import pandas as pd

DONE, FAILED, PRUNED = STATUSES = ("done", "failed", "pruned")
"""What a cell's result can be: trained and evaluated, ended by a failure of its own, or stopped by the search whose trial it is."""
STAGE = "stage"
"""Of a point of a learning curve, the training stage that it is of, where there are several."""
VALIDATION_LOSS = "validation_loss"
"""Of such a point, the mean loss of an answer token of validation rows."""
PREDICTION_COLUMNS = ("item_id", "task", "place", "prediction", "correct", "image_id")


def check_result(result: dict[str, Any], cell_id: str, phase: str) -> dict[str, Any]:
    """The content of result.json.

    Raises:
        ValueError: naming the first field that fails.
    """
    if result.get("schema") != SCHEMA:
        raise ValueError(f"schema={result.get('schema')!r}, expected {SCHEMA}")
    if result.get("id") != cell_id:
        raise ValueError(f"id={result.get('id')!r} is not the folder's {cell_id!r}")
    if result.get("status") not in STATUSES or (result["status"] == PRUNED and phase == "main"):
        raise ValueError(f"status={result.get('status')!r}")
    # Tuning cells never read the test pool: their numbers are those of the validation items.
    needed = "metrics" if phase == "main" else "validation"
    if result["status"] == "done" and not (isinstance(result.get(needed), dict) and result[needed]):
        raise ValueError(f"no {needed}")
    _check_shapes(result)
    if result["status"] == PRUNED and set(check_numbers(result.get("pruned"), "pruned")) != {"step", "value"}:
        raise ValueError(f"pruned={short(result.get('pruned'))} does not say step and value")
    for name in ("metrics", "validation", "timing"):
        check_numbers(result.get(name), name)
    for number, point in enumerate(result.get("curve") or []):
        check_numbers({name: value for name, value in point.items() if name != STAGE}, f"curve[{number}]")
        if not isinstance(point.get(STAGE, ""), str):
            raise ValueError(f"curve[{number}].{STAGE} = {short(point[STAGE])} is no name")
    for test, counts in (result.get("answers") or {}).items():
        check_numbers(counts, f"answers.{test}")
    return result


def _check_shapes(result: dict[str, Any]) -> None:
    """ValueError names the first field that readers take for a mapping or a list and that is none."""
    config = result.get("config")
    parts = [(name, result.get(name)) for name in ("config", "metrics", "validation", "timing", "answers", "failure")]
    parts += (
        [(f"config.{name}", config.get(name)) for name in ("train", "fusion", "geometry", "data", "runtime")]
        if isinstance(config, dict)
        else []
    )
    for name, value in parts:
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{name} is no mapping")
    curve = result.get("curve")
    if curve is not None and not (isinstance(curve, list) and all(isinstance(point, dict) for point in curve)):
        raise ValueError("curve is no list of points")


def check_numbers(values: Any, name: str) -> dict[str, float]:
    """`values` without what is null.

    Raises:
        ValueError: naming the key of what is no finite number: text, true, NaN, Infinity.
    """
    if not isinstance(values or {}, dict):
        raise ValueError(f"{name} = {short(values)} is no mapping of numbers")
    found = {}
    for key, value in (values or {}).items():
        if value is None:
            continue
        if (number := finite(value)) is None:
            raise ValueError(f"{name}[{key!r}] = {short(value)} is no finite number")
        found[str(key)] = number
    return found


def finite(value: Any) -> float | None:
    """`value` as a float; None where it is text, true, NaN, infinite or beyond a float's range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def check_predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """A cell's predictions: `correct` true or false, the other columns that readers need text.

    Raises:
        ValueError: naming the column that is missing, or holds something else.
    """
    import pandas as pd

    if missing := [name for name in PREDICTION_COLUMNS if name not in frame]:
        raise ValueError(f"no column {', '.join(missing)}")
    if frame.empty:
        raise ValueError("no rows")
    for name in PREDICTION_COLUMNS:
        column = frame[name]
        kind = "true or false" if name == "correct" else "text"
        fits = pd.api.types.is_bool_dtype(column) if name == "correct" else column.map(lambda value: isinstance(value, str)).all()
        if not fits or column.isna().any():
            odd = next((value for value in column if not isinstance(value, bool if name == "correct" else str)), None)
            raise ValueError(f"{name} holds {odd!r}, which is not {kind}")
    if "answer" in frame and not frame["answer"].map(lambda value: isinstance(value, str)).all():
        raise ValueError("answer holds what is no text")
    if "score" in frame and not (pd.api.types.is_float_dtype(frame["score"]) and frame["score"].dropna().between(0, 1).all()):
        raise ValueError("score holds what is no number from 0 to 1")
    if "cut_fraction" in frame and not pd.api.types.is_numeric_dtype(frame["cut_fraction"]):
        raise ValueError("cut_fraction holds what is no number")
    return frame


def short(error: Any) -> str:
    """A value or an error in at most 160 characters of one line; of what the system says, without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:160] or type(error).__name__
