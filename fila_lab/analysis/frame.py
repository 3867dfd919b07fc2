"""Tidy pandas frames of a study folder: one row per cell, per prediction, per trial, per logged step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.analysis.columns import Columns, repeated, text_columns
from fila_lab.analysis.folder import Cell, StudyFolder
from fila_lab.analysis.searched import at_edge, searched_at, value_at
from fila_lab.config.base import FilaError
from fila_lab.config.cell_checks import VALIDATION_LOSS, check_numbers, short
from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import present_path
from fila_lab.config.space import Range, is_active

Source = Path | str | StudyFolder

COST_COLUMNS = ("parameters", "trainable_parameters", "fusion_parameters", "flops", "latency_ms", "latency_iqr_ms", "peak_memory_mib")
MEASURED = ("loss", "learning_rate", "validation", VALIDATION_LOSS)
"""What a learning curve measures; the last in runs with training stages alone."""


def load_study_frame(out: Source) -> pd.DataFrame:
    """One row per finished main cell: arm, seed, id, every metric by its name, `timing/<part>` in seconds; and `pair`, the number of its
    tower pair, where seeds are spread over several.

    Arms are in the study's order. `frame.attrs["notes"]` says what was left out. Errors: FilaError when no main cell is finished.

    Example:
        >>> frame = load_study_frame("experiments/results/remove_fusion")
        >>> frame.groupby("arm", sort=False)["exact/reading/cut"].mean().index.tolist()
        ['none', 'concat']
    """
    folder = StudyFolder.open(out)
    rows = [
        {**_key(cell), **_floats(cell.result["metrics"]), **_floats(cell.result.get("timing"), "timing/")}
        for cell in folder.main
        if cell.done and cell.result is not None
    ]
    if not rows:
        failed = [cell for cell in folder.main if cell.failed]
        cause = f"; {len(failed)} failed, the first with: {_failure(failed[0])['message']}" if failed else ""
        raise FilaError(f"out={folder.out}: none of its {len(folder.main)} main cells is finished{cause}; run the study first")
    frame = pd.DataFrame(rows)
    order = {arm: i for i, arm in enumerate(folder.arms)}
    frame = frame.sort_values(["arm", "seed"], key=lambda c: c.map(order) if c.name == "arm" else c, kind="stable").reset_index(drop=True)
    if folder.tower_pairs:
        frame.insert(list(frame.columns).index("id") + 1, "pair", frame["seed"] % folder.tower_pairs)
    frame.attrs["notes"] = folder.notes()
    return frame


def load_predictions(out: Source, arm: str | None = None) -> pd.DataFrame:
    """Test predictions of every finished main cell (or one arm's), with columns arm, seed and id in front. Where all cells have the same
    columns, those of text are categorical.

    Cells without readable predictions are left out and named in `attrs["notes"]`. Errors: FilaError when there is none at all.

    Example:
        >>> load_predictions("experiments/results/remove_fusion", arm="concat")["arm"].unique().tolist()
        ['concat']
    """
    folder = StudyFolder.open(out)
    if arm is not None and arm not in folder.arms:
        raise FilaError(f"arm={arm!r}: not among this study's arms {', '.join(folder.arms)}")
    cells, notes = [cell for cell in folder.main if cell.done and (arm is None or cell.arm == arm)], []
    read: list[Cell] = []
    columns: Columns | None = None
    numbered: list[str] = []
    for cell in cells:
        try:
            numbered = numbered or text_columns(cell.table().schema)
            table = cell.table(numbered)
        except (OSError, ValueError) as error:
            notes.append(f"cell {cell.id} ({cell.arm}, seed {cell.seed}): predictions unreadable ({short(error)[:120]})")
            continue
        columns = Columns(table.schema) if columns is None else columns
        if not table.schema.equals(columns.schema):
            break
        columns.add(table)
        read.append(cell)
    else:
        if columns is None:
            raise FilaError(f"out={folder.out}: no cell has readable predictions; run the study again")
        head: dict[str, Any] = {"arm": repeated([cell.arm for cell in read], columns.rows)}
        head |= {"seed": np.repeat([cell.seed for cell in read], columns.rows), "id": repeated([cell.id for cell in read], columns.rows)}
        frame = columns.frame(head)
        frame.attrs["notes"] = notes
        return frame
    return _concatenated(cells)


def _concatenated(cells: Sequence[Cell]) -> pd.DataFrame:
    """Predictions of cells whose columns are not the same, or not of the same types."""
    parts, notes = [], []
    for cell in cells:
        try:
            part = cell.predictions()
        except (OSError, ValueError) as error:
            notes.append(f"cell {cell.id} ({cell.arm}, seed {cell.seed}): predictions unreadable ({short(error)[:120]})")
            continue
        head = pd.DataFrame({"arm": cell.arm, "seed": cell.seed, "id": cell.id}, index=part.index)
        parts.append(pd.concat([head, part], axis=1))
    whole = pd.concat(parts, ignore_index=True)
    whole.attrs["notes"] = notes
    return whole


def load_tuning(out: Source) -> pd.DataFrame:
    """One row per tuning trial: arm, trial, id (of several cells with spaces between), status, a column per searched path (choices as text
    where they are no numbers; missing where a path was not active), value (the metric on validation items, mean over cells), winner, edge.

    Committed folders may carry `tuning/trials.csv` in place of the cells; it is read when no tuning cell has a value.
    Empty frame without either.

    Example:
        >>> trials = load_tuning("experiments/results/fusion_methods")
        >>> bool((trials[trials["winner"]].groupby("arm").size() == 1).all())
        True
    """
    folder = StudyFolder.open(out)
    space = dict(folder.study.tuning.dimensions) if folder.study.tuning else {}
    rows = []
    for (arm, trial), cells in _by_trial(folder.tuning).items():
        config = (cells[0].result or {}).get("config") or cells[0].config
        values = [
            _floats((cell.result or {}).get("validation")).get(folder.study.metric, math.nan) if cell.done else math.nan for cell in cells
        ]
        states = [cell.result["status"] if cell.result else "missing" for cell in cells]
        status = next((state for state in states if state != "done"), "done")
        chosen: dict[str, Any] = {}
        for path, one in space.items():
            if is_active(one, chosen):
                chosen[path] = value_at(config, path)
        searched = {path: searched_at(config, path, one) if path in chosen else None for path, one in space.items()}
        key = {"arm": arm, "trial": trial, "id": " ".join(cell.id for cell in cells), "status": status}
        rows.append({**key, **searched, "value": sum(values) / len(values)})
    frame = pd.DataFrame(rows)
    table = folder.out / "tuning" / "trials.csv"
    if (frame.empty or frame["value"].isna().all()) and table.exists():
        frame = pd.read_csv(table, dtype=str, keep_default_na=False).rename(columns=present_path)  # an arm may be named NA or 010
        space = {path: one for path, one in space.items() if path in frame}
        if "trial" in frame:
            frame["trial"] = pd.to_numeric(frame["trial"], errors="coerce")
        for path in [path for path, one in space.items() if isinstance(one, Range)]:
            frame[path] = frame[path].map(_float)
        for path in [path for path, one in space.items() if not isinstance(one, Range)]:
            frame[path] = frame[path].where(frame[path] != "", None)
        if not {"arm", "value"} <= set(frame.columns):
            found = ", ".join(frame.columns)
            raise FilaError(f"{table}: columns arm and value are needed, found {found}; remove the file or write it again")
    if frame.empty:
        return pd.DataFrame(columns=["arm", "trial", "id", "status", *space, "value", "winner", "edge"])
    frame["value"] = frame["value"].map(_float)
    best = frame.dropna(subset=["value"]).groupby("arm")["value"].idxmax()
    frame["winner"] = frame.index.isin(best)
    frame["edge"] = ""
    for index in best:
        own = frame[(frame["arm"] == frame.at[index, "arm"]) & frame["value"].notna()]
        warnings = [edge(path, float(own.loc[index, path]), own[path], one) for path, one in space.items() if isinstance(one, Range)]
        frame.at[index, "edge"] = "; ".join(filter(None, warnings))
    return frame


def load_curves(out: Source) -> pd.DataFrame:
    """One row per logged step of a finished main cell: arm, seed, id, step, and the measures of MEASURED (NaN where not measured).

    Example:
        >>> load_curves("experiments/results/remove_fusion").columns.tolist()
        ['arm', 'seed', 'id', 'step', 'loss', 'learning_rate', 'validation', 'validation_loss']
    """
    folder = StudyFolder.open(out)
    rows = [
        {**_key(cell), **{name: point.get(name) for name in ("step", *MEASURED)}}
        for cell in folder.main
        if cell.done and cell.result is not None
        for point in cell.result.get("curve") or []
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "id", "step", *MEASURED]).astype(dict.fromkeys(MEASURED, float))


def _float(text: object) -> float:
    """The number a text writes, to its last bit, as pandas' own readers give it from 3 on; NaN where it writes none."""
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def load_costs(out: Source) -> pd.DataFrame:
    """Costs indexed by arm, columns COST_COLUMNS (counts, FLOPs, milliseconds, MiB); NaN where unmeasured. Errors: FilaError if damaged.

    Example:
        >>> load_costs("experiments/results/remove_fusion").index.tolist()
        ['none', 'concat']
    """
    folder = StudyFolder.open(out)
    path = folder.out / "costs.json"
    costs: dict[str, Any] = {}
    if path.exists():
        try:
            costs = read_json(path)
        except ValueError as error:
            raise FilaError(f"{path}: not readable as JSON ({error}); delete it and run the study again") from error
    try:
        rows = {arm: check_numbers(costs.get(arm), arm) for arm in folder.arms}
    except (ValueError, AttributeError) as error:
        raise FilaError(f"{path}: {error}; delete it and run the study again") from error
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="arm"), columns=list(COST_COLUMNS), dtype=float)
    return frame


def load_manifests(out: Source) -> pd.DataFrame:
    """One row per finished main cell: arm, seed, id, the manifest flattened (`versions.torch`, ...), its config's `runtime.*`, and the
    number of its tower pair where there are several.

    Example:
        >>> "versions.torch" in load_manifests("experiments/results/remove_fusion")
        True
    """
    folder = StudyFolder.open(out)
    rows = []
    for cell in folder.main:
        if cell.done and cell.result is not None:
            runtime = (cell.result.get("config") or {}).get("runtime") or {}
            rows.append({**_key(cell), **_flat(cell.manifest), **_flat({"runtime": runtime})})
    frame = pd.DataFrame(rows)
    if folder.tower_pairs and len(frame):
        frame["pair"] = frame["seed"] % folder.tower_pairs
    return frame


def failures(out: Source) -> pd.DataFrame:
    """One row per failed cell, tuning included: arm, seed, phase, trial, id, kind, message.

    Example:
        >>> failures("experiments/results/remove_fusion").columns.tolist()
        ['arm', 'seed', 'id', 'phase', 'trial', 'kind', 'message']
    """
    folder = StudyFolder.open(out)
    rows = [{**_key(cell), "phase": cell.phase, "trial": cell.trial, **_failure(cell)} for cell in folder.cells if cell.failed]
    return pd.DataFrame(rows, columns=["arm", "seed", "id", "phase", "trial", "kind", "message"])


def _key(cell: Cell) -> dict[str, Any]:
    return {"arm": cell.arm, "seed": cell.seed, "id": cell.id}


def _failure(cell: Cell) -> dict[str, str]:
    cause = (cell.result or {}).get("failure") or {}
    return {"kind": str(cause.get("kind", "error")), "message": str(cause.get("message", "no message was recorded"))}


def _floats(values: Mapping[str, Any] | None, prefix: str = "") -> dict[str, float]:
    return {prefix + name: value for name, value in check_numbers(values, prefix or "metrics").items()}


def edge(path: str, chosen: float, tried: pd.Series, one: Range) -> str:
    """Why a winning value may not be the best there is: it lies in the outer part of its range, or no trial lies beyond it."""
    if chosen != chosen or at_edge(chosen, one):
        return f"{path} at the edge of its range"
    if len(tried) > 1 and (chosen == tried.min() or chosen == tried.max()):
        return f"{path} is the outermost value tried"
    return ""


def _by_trial(cells: Iterable[Cell]) -> dict[tuple[str, int | None], list[Cell]]:
    """A trial's cells, one a seed of the search."""
    found: dict[tuple[str, int | None], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.arm, cell.trial), []).append(cell)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return found
