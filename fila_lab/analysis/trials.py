"""A sweep's trials as frames, and how they stand to its front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.front import dominators, shortfall
from fila_lab.analysis.searched import at_edge, plain, shown
from fila_lab.analysis.trials_file import TrialsFile, read_trials_file
from fila_lab.config.base import FilaError
from fila_lab.config.space import Dimension, Range


def load_trials(out: Path | str | StudyFolder) -> pd.DataFrame:
    """One row a trial of the sweep: number, batch, state, reason, a column a searched field (lists as JSON; None where the field was not
    active), a column an objective (metrics as shares, flops a page, latency in ms, peak_memory in MiB; NaN without a value), standing
    ("front", "dominated", "" without values), arm (that was made of it, or ""), cells (ids, with spaces between).

    Raises:
        FilaError: as of `StudyFolder.open`; there is no sweep in the folder; its trials are damaged.

    Example:
        >>> trials = load_trials("experiments/results/accuracy_cost")
        >>> set(trials["standing"]) <= {"front", "dominated", ""}
        True
    """
    folder = StudyFolder.open(out)
    file = read_trials_file(folder.out)
    if file is None:
        raise FilaError(f"out={folder.out}: no sweep/trials.json in it; run a budget with `sweep: true` (`fila-lab run STUDY.yaml`)")
    return trials_frame(file)


def trials_frame(file: TrialsFile) -> pd.DataFrame:
    """As of `load_trials`."""
    paths = list(file.search.space)
    front, arms = {trial.number for trial in file.best}, {number: arm for arm, number in file.arms.items()}
    ordered = sorted(file.trials, key=lambda trial: trial.number)
    rows: list[dict[str, Any]] = []
    for trial, values in zip(ordered, file.values(ordered), strict=True):
        row: dict[str, Any] = {"number": trial.number, "batch": trial.batch, "state": trial.state, "reason": trial.reason}
        row |= {path: plain(trial.parameters[path]) if path in trial.parameters else None for path in paths}
        row |= dict(zip(file.names, values, strict=True))
        row["standing"] = "front" if trial.number in front else "dominated" if trial.state == "complete" else ""
        rows.append(row | {"arm": arms.get(trial.number, ""), "cells": " ".join(trial.cells)})
    columns = ["number", "batch", "state", "reason", *paths, *file.names, "standing", "arm", "cells"]
    frame = pd.DataFrame(rows, columns=columns, dtype=object)  # whole numbers stay whole beside fields that were not active
    return frame.astype({"number": int, "batch": int, **dict.fromkeys(file.names, float)})


def below_front(file: TrialsFile) -> pd.DataFrame:
    """One row a complete trial that is not on the front: number, the objectives, dominated_by (numbers of the front's trials), shortfall
    (how much better in the first objective it would have to be, in its units); the least first.
    """
    front = file.values(file.best)
    numbers = [trial.number for trial in file.best]
    rows: list[dict[str, Any]] = []
    for trial, values in zip(file.finished, file.values(file.finished), strict=True):
        if trial.number in numbers:
            continue
        above = dominators(front, file.directions, values)
        named = ", ".join(str(number) for number, beats in zip(numbers, above, strict=True) if beats)
        lacking = shortfall(front, file.directions, values)
        rows.append({"number": trial.number, **dict(zip(file.names, values, strict=True)), "dominated_by": named, "shortfall": lacking})
    table = pd.DataFrame(rows, columns=["number", *file.names, "dominated_by", "shortfall"])
    return table.sort_values(["shortfall", "number"], kind="stable", ignore_index=True)


def at_edges(file: TrialsFile) -> dict[int, tuple[str, ...]]:
    """Number of a trial of the front -> its numbers at an edge of their ranges, in words."""
    space = file.dimensions()
    found = {
        trial.number: tuple(filter(None, (_edge(path, trial.parameters.get(path), one) for path, one in space.items())))
        for trial in file.best
    }
    return {number: edges for number, edges in found.items() if edges}


def _edge(path: str, value: Any, one: Dimension) -> str:
    if not isinstance(one, Range) or not at_edge(value, one):
        return ""
    lower = one.share(float(value)) <= 0.5
    return f"{path} = {shown(value)} at the {'lower' if lower else 'upper'} end of {one.low:g} to {one.high:g}"
