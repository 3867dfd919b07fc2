"""Which cell of which result folder a word means: an id, `ARM:SEED`, or the path of a cell's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config import ConfigError, RunConfig, did_you_mean
from fila_lab.studies.folder import read_plan
from fila_lab.studies.result import CellResult
from fila_lab.studies.store import Invalid, ResultStore


@dataclass(frozen=True)
class StoredCell:
    """A cell with a result, in whatever form its folder keeps it."""

    root: Path
    id: str
    arm: str
    seed: int
    phase: str
    result: CellResult
    manifest: Mapping[str, Any]

    @property
    def config(self) -> RunConfig:
        """What it ran."""
        return RunConfig.model_validate(self.result.config)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm} seed {self.seed} ({self.id})"


def cell_of_path(path: Path) -> tuple[Path, str] | None:
    """(result folder, id) of `.../cells/<id>`; None where the path is no such folder."""
    return (path.parent.parent, path.name) if path.is_dir() and path.parent.name == "cells" and path.name else None


def find_cell(root: Path, word: str) -> StoredCell:
    """The cell of a result folder that an id or `ARM:SEED` (a main cell) means.

    Raises:
        ConfigError: no such cell, or one without a result.
        FilaError: the folder is of a newer version.
    """
    plan = read_plan(root)
    if plan is None:
        raise ConfigError(f"--out = {root} holds no plan.json, so it is no result folder; give the --out of a run, or published results")
    entry = _entry(plan["cells"], word, root)
    store = ResultStore(root)
    found = store.read(entry["id"])
    if found is None or isinstance(found, Invalid):
        why = f"its result does not count ({found.reason})" if found is not None else "it has no result yet"
        raise ConfigError(f"CELL = {word}: {why} in {root}; run it with `fila-lab run`, or choose another cell")
    return StoredCell(root, entry["id"], entry["arm"], entry["seed"], entry["phase"], found, store.manifest(entry["id"]))


def _entry(cells: list[dict[str, Any]], word: str, root: Path) -> dict[str, Any]:
    by_id = {cell["id"]: cell for cell in cells}
    if word in by_id:
        return by_id[word]
    arm, colon, seed = word.rpartition(":")
    if colon and seed.isdecimal():
        main = [cell for cell in cells if cell["phase"] == "main"]
        found = [cell for cell in main if (cell["arm"], cell["seed"]) == (arm, int(seed))]
        if found:
            return found[0]
        arms = list(dict.fromkeys(cell["arm"] for cell in main))
        if arm not in arms:
            raise ConfigError(f"CELL = {word}: arm {arm!r} is not in {root}{did_you_mean(arm, arms)}; choose {', '.join(arms)}")
        seeds = ", ".join(str(cell["seed"]) for cell in main if cell["arm"] == arm)
        raise ConfigError(f"CELL = {word}: arm {arm!r} has no seed {seed} in {root}; choose {seeds}")
    near = [name for name in by_id if word and name.startswith(word)]
    if len(near) == 1:
        return by_id[near[0]]
    if near:
        listed = ", ".join(near[:3]) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
        raise ConfigError(f"CELL = {word}: {len(near)} cells of {root} begin so ({listed}); give more of the id")
    raise ConfigError(f"CELL = {word}: no such cell in {root}; give an id (`plan.json` lists them), or ARM:SEED")
