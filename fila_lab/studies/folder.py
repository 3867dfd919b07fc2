"""A study's folder as a whole: where it is, whose it is, its plan, and whether its results are of one code."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, StudyConfig
from fila_lab.config.files import write_atomically
from fila_lab.studies.plan import CellSpec, Plan
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")

RUNS = Path("runs")
"""Where studies are run, below the working directory."""


def default_out(study: StudyConfig, budget: str) -> Path:
    """`runs/<study>-<budget>`."""
    return RUNS / f"{study.name}-{budget}"


def default_cache() -> Path:
    """Pools and features shared by all studies: $FILA_LAB_CACHE, else `runs/cache`."""
    return Path(os.environ.get("FILA_LAB_CACHE") or RUNS / "cache")


def read_plan(root: Path) -> dict[str, Any] | None:
    """`plan.json`, if there is one that can be read and is a study's."""
    try:
        content = json.loads((root / "plan.json").read_text(encoding="utf-8"))
        ours = isinstance(content["cells"], list) and isinstance(content["study"]["name"], str) and {"budget", "study_hash"} <= set(content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if ours else None


def check_owner(root: Path, plan: Plan) -> None:
    """Refuse a folder that another study, or another budget, owns; say when the declaration has changed.

    Raises:
        FilaError: naming both.
    """
    earlier = read_plan(root)
    if earlier is None:
        return
    owner, ours = (earlier["study"]["name"], earlier["budget"]), (plan.study.name, plan.budget)
    if owner != ours:
        raise FilaError(f"--out: {root} holds study {owner[0]!r}, budget {owner[1]!r}, not {ours[0]!r}, {ours[1]!r}; choose another")
    if earlier["study_hash"] != plan.study_hash:
        log.warning(
            "the study file has changed since this folder's first run (%s, now %s): finished cells with the same id are kept, "
            "and the report shows the new hash",
            earlier["study_hash"],
            plan.study_hash,
        )


def write_plan(root: Path, plan: Plan, tuning: Sequence[CellSpec | dict[str, Any]], code: str) -> None:
    """Write `plan.json`: the tuning cells known so far, then the main cells (provisional while the winners are not known)."""
    content = plan.to_dict()
    before = [cell.to_dict() if isinstance(cell, CellSpec) else cell for cell in tuning]
    content = {**content, "code_hash": code, "provisional": plan.provisional, "cells": [*before, *content["cells"]]}
    write_atomically(root / "plan.json", (json.dumps(content, indent=1) + "\n").encode())


def check_code(store: ResultStore, code: str, allow_mixed: bool) -> None:
    """Refuse to add results of this code to results of another.

    Raises:
        FilaError: naming the hashes and how many results each made.
    """
    made: dict[str, int] = {}
    for cell_id in store.ids():
        if (store.folder(cell_id) / "result.json").exists():
            other = str(store.manifest(cell_id).get("code_hash", "unknown"))
            made[other] = made.get(other, 0) + 1
    others = {other: count for other, count in made.items() if other != code}
    if not others:
        return
    listed = ", ".join(f"{count} by {other}" for other, count in others.items())
    if not allow_mixed:
        raise FilaError(
            f"--out: {store.root} holds results of other code ({listed}; this is {code}), and a comparison of mixed code compares code; "
            "choose another --out, or accept it with --allow-mixed (each cell's manifest tells its code)"
        )
    log.warning("results of other code are kept and mixed with this one's (%s; this is %s)", listed, code)
