"""The cells that searches ask for, a line each in a file of the search's folder: plan.json holds main cells alone, and is not written once
a trial. The file is made anew at each start of a search, and is appended to; what a kill tore off its end is no cell.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from fila_lab.config.json_files import parse_json

SEARCHES = ("tuning", "sweep")
"""Folders of searches in a result folder; the phases of their cells are called so, too."""
TRIAL_CELLS = "cells.jsonl"
_KEYS: dict[str, type | types.UnionType] = {"id": str, "arm": str, "seed": int | None, "phase": str, "trial": int | None}


def is_cell(cell: Any) -> bool:
    """Whether this is a cell as a plan keeps it."""
    return isinstance(cell, dict) and all(key in cell and isinstance(cell[key], kind) for key, kind in _KEYS.items())


def read_trial_cells(root: Path) -> list[dict[str, Any]]:
    """The cells of the searches of a result folder, in the order in which they were asked."""
    found = []
    for search in SEARCHES:
        try:
            lines = (root / search / TRIAL_CELLS).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                cell = parse_json(line)
            except ValueError:
                continue
            if is_cell(cell):
                found.append(cell)
    return found


def with_trial_cells(root: Path, plan: Any) -> Any:
    """The content of a plan.json with the searches' cells in front of its own; what is no plan, as it is."""
    if not isinstance(plan, dict) or not isinstance(plan.get("cells"), list):
        return plan
    own = plan["cells"]
    there = {_place(cell) for cell in own if is_cell(cell) and cell["phase"] != "main"}
    return {**plan, "cells": [*(cell for cell in read_trial_cells(root) if _place(cell) not in there), *own]}


def _place(cell: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(cell[key]) for key in ("arm", "seed", "phase", "trial"))
