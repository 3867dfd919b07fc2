"""A study's folder as a whole: where it is, whose it is, its plan, and whether its results are of one code."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, StudyConfig
from fila_lab.config.declaration import DECLARED, Declared, changes, declaration
from fila_lab.config.files import RUNS, becoming, move_aside
from fila_lab.config.files import default_cache as default_cache
from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import present_plan
from fila_lab.config.schemas import PLAN, refuse_newer
from fila_lab.config.trial_cells import SEARCHES, TRIAL_CELLS, is_cell, with_trial_cells
from fila_lab.studies.plan import CellSpec, Plan
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")


def default_out(study: StudyConfig, budget: str) -> Path:
    """`runs/<study>-<budget>`."""
    return RUNS / f"{study.name}-{budget}"


def read_plan(root: Path) -> dict[str, Any] | None:
    """`plan.json`, if there is one that can be read and is a study's; the cells of its searches stand in front of its own.

    Raises:
        FilaError: a newer version wrote it.
    """
    try:
        content = read_json(root / "plan.json")
        ours = isinstance(content["study"]["name"], str) and {"budget", "study_hash"} <= set(content)
        ours = ours and isinstance(content["cells"], list) and all(is_cell(cell) for cell in content["cells"])
        if content.get("declared") is not None:
            Declared.model_validate(content["declared"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    refuse_newer(root / "plan.json", content.get("schema"), PLAN)
    return present_plan(with_trial_cells(root, content)) if ours else None


def read_head(root: Path) -> Mapping[str, Any] | None:
    """What `read_plan` reads, with the cells' `phases` in place of the cells; read again only where the file has changed since. Not to be
    changed."""
    try:
        state = os.stat(root / "plan.json")
    except OSError:
        return None
    return _head(root, (state.st_ino, state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _head(root: Path, stamp: tuple[int, int, int]) -> Mapping[str, Any] | None:
    plan = read_plan(root)
    if plan is None:
        return None
    phases = {cell["phase"] for cell in plan["cells"]}
    return {**{name: value for name, value in plan.items() if name != "cells"}, "phases": phases}


def set_damaged_plan_aside(root: Path) -> None:
    """A plan that cannot be read is kept beside the one that takes its place: only it knew what was declared before the first cell."""
    if os.path.lexists(root / "plan.json") and read_head(root) is None and any((root / "cells").glob("*/result.json")):
        aside = move_aside(root / "plan.json", "invalid")
        log.warning(
            "%s cannot be read: moved to %s and written anew; what was declared when the first cell ran is not known any more, and the "
            "study file as it is now stands for it",
            root / "plan.json",
            aside.name,
        )


def check_owner(root: Path, plan: Plan) -> None:
    """Refuse a folder that another study, or another budget, owns; say when the declaration has changed.

    Raises:
        FilaError: naming both.
    """
    earlier = read_head(root)
    if earlier is None:
        return
    owner, ours = (earlier["study"]["name"], earlier["budget"]), (plan.study.name, plan.budget)
    if owner != ours:
        raise FilaError(f"--out: {root} holds study {owner[0]!r}, budget {owner[1]!r}, not {ours[0]!r}, {ours[1]!r}; choose another")
    if changed := changes(declared_in(root, plan), declaration(plan.study, plan.budget)):
        log.warning(
            "the declaration has changed since this folder's first cell ran (%s): finished cells are kept, and the report says so",
            "; ".join(changed),
        )
    elif earlier["study_hash"] != plan.study_hash:
        log.warning(
            "the study, or what --set says of it, has changed since this folder's last run (%s, now %s): finished cells with the same "
            "id are kept, and the report shows the new hash",
            earlier["study_hash"],
            plan.study_hash,
        )


def declared_in(root: Path, plan: Plan) -> dict[str, Any]:
    """The declaration as it stood when the folder's first cell ran; the plan's own while none has.

    A folder whose plan does not keep it is taken by the study it was last run with.
    """
    earlier = read_head(root)
    if earlier is None or not any((root / "cells").glob("*/result.json")):
        return declaration(plan.study, plan.budget)
    if earlier.get("declared"):
        return Declared.model_validate(earlier["declared"]).kept()
    seeds = ((earlier["study"].get("budgets") or {}).get(earlier["budget"]) or {}).get("seeds") or []
    return {name: earlier["study"][name] for name in (*DECLARED, "families") if name in earlier["study"]} | {"seeds": seeds}


def write_plan(root: Path, plan: Plan, code: str) -> None:
    """Write `plan.json`: the main cells (provisional while a search has not ended), a line each; before them the declaration as it stood
    when the first cell ran. A search's cells that an older plan holds itself go where they are kept now."""
    for search in set(SEARCHES) & (read_head(root) or {"phases": set()})["phases"]:
        if not (root / search / TRIAL_CELLS).exists():
            with CellLog(root / search) as kept:
                for cell in (read_plan(root) or {"cells": []})["cells"]:
                    if cell["phase"] == search:
                        kept.add(cell)
    head = plan.head() | {"declared": declared_in(root, plan), "code_hash": code, "provisional": plan.provisional}
    with becoming(root / "plan.json") as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "cells": [')
        for number, cell in enumerate(plan.cells):
            file.write(f"{',' if number else ''}\n  {json.dumps(cell.to_dict())}")
        file.write("\n ]\n}\n")


class CellLog:
    """Context manager that writes a search's cells, anew."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / TRIAL_CELLS).open("w", encoding="utf-8")

    def add(self, cell: CellSpec | dict[str, Any]) -> None:
        """One more cell."""
        self._file.write(json.dumps(cell.to_dict() if isinstance(cell, CellSpec) else cell) + "\n")
        self._file.flush()

    def __enter__(self) -> CellLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def check_code(store: ResultStore, code: str, allow_mixed: bool) -> None:
    """Refuse to add results of this code to results of another.

    Raises:
        FilaError: naming the hashes and how many results each made.
    """
    made: dict[str, int] = {}
    for cell_id in store.ids():
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
