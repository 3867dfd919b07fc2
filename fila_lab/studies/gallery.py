"""The gallery: pages of triplets on which arms or places disagree, and of some drawn at random, for the report to show."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fila_lab.config import FilaError, RunConfig, config_hash
from fila_lab.config.data import PLACES
from fila_lab.config.files import write_atomically
from fila_lab.config.flips import drawn_at_random, most_divided
from fila_lab.config.json_files import read_json
from fila_lab.studies.folder import read_plan
from fila_lab.studies.plan import Plan
from fila_lab.studies.store import ResultStore

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("fila_lab")

COLUMNS = ["item_id", "place", "correct"]
SAID = ["question", "answer"]
ENTRIES, DRAWN = "gallery.json", "drawn.json"
"""What is shown, and of which results and code it was drawn."""


def write_gallery(plan: Plan, store: ResultStore, code: str = "") -> int:
    """Draw the chosen triplets into OUT/gallery; returns how many. Nothing is drawn where no cell has predictions by place, nor anew where
    the pictures are of these results. code: the hash of what draws.
    """
    folder, config = store.root / "gallery", plan.cells[0].config
    arms = {cell.id: cell.arm for cell in plan.cells}
    of = config_hash({"code": code, "run": config.model_dump(mode="json"), "arms": arms, "results": store.stamps(arms)})
    try:
        record = read_json(folder / DRAWN)
        if record["of"] == of and (folder / ENTRIES).is_file():
            return int(record["triplets"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    drawn = _draw(config, _pools(arms, store), folder)
    folder.mkdir(exist_ok=True)
    write_atomically(folder / DRAWN, json.dumps({"of": of, "triplets": drawn}, indent=1).encode())
    return drawn


def draw_published(root: Path, folder: Path) -> int:
    """Draw the triplets of published results, of which no pictures are published, into FOLDER; returns how many.

    Pages follow from the suite's seed. Those of which today's suite draws other questions than were answered are left out, and said; so
    are all of them where today's suite cannot draw the study's items.
    """
    try:
        plan = read_plan(root) or {"cells": []}
        cells = [cell for cell in plan["cells"] if cell["phase"] == "main"]
        pools = _pools({cell["id"]: cell["arm"] for cell in cells}, ResultStore(root))
        return _draw(RunConfig.model_validate(cells[0]["config"]), pools, folder)
    except (FilaError, OSError, ValueError, LookupError) as error:
        log.warning("no pictures of items (%s); the report lists them as text", " ".join(str(error).split())[:300])
        return 0


@dataclass
class _Pool:
    """Items that some cells answered, in their order, and what was asked; and arm -> how many of its cells did, and how many of those were
    right in each row."""

    items: pa.Table
    right: dict[str, tuple[int, NDArray[np.int64]]] = field(default_factory=dict)

    def add(self, arm: str, correct: NDArray[np.int64]) -> None:
        cells, right = self.right.get(arm, (0, np.zeros_like(correct)))
        self.right[arm] = cells + 1, right + correct


def _pools(arms: Mapping[str, str], store: ResultStore) -> list[_Pool]:
    """Of the cells (id -> arm) that have predictions by place. Cells are added up as they are read: no more than one is held."""
    import pyarrow as pa

    pools: list[_Pool] = []
    for cell_id in store.outlines(arms):
        table = store.table(cell_id, (*COLUMNS, *SAID))
        if table is None or not set(COLUMNS) <= set(table.column_names):
            continue
        correct, items = table["correct"], table.drop_columns(["correct"])
        if not pa.types.is_boolean(correct.type) or correct.null_count:
            continue
        pool = next((pool for pool in pools if pool.items.equals(items)), None)
        if pool is None:
            pools.append(pool := _Pool(items))
        pool.add(arms[cell_id], correct.to_numpy().astype(np.int64))
    return pools


def _draw(config: RunConfig, pools: Sequence[_Pool], folder: Path) -> int:
    """Draw the triplets that tell most, and some at random; 0 where no item has a place, as a benchmark's have none."""
    import pandas as pd

    parts = [
        pool.items.to_pandas().assign(arm=arm, right=right, cells=cells) for pool in pools for arm, (cells, right) in pool.right.items()
    ]
    placed = [part for part in (part[part["place"].isin(PLACES)] for part in parts) if len(part)]
    if not placed:
        return 0
    from fila_lab.data.seam.gallery import draw_triplets

    predictions = pd.concat(placed)
    counts = predictions.groupby(["item_id", "arm", "place"])[["right", "cells"]].sum()
    asked = predictions.drop_duplicates("item_id").set_index("item_id").reindex(columns=SAID)
    chosen = [*most_divided(counts["right"] / counts["cells"]), *drawn_at_random(predictions["item_id"])]
    entries = draw_triplets(config, list(dict.fromkeys(chosen)), folder)
    same = [entry for entry in entries if all(asked.at[entry["item_id"], name] in (entry[name], None) for name in SAID)]
    if len(same) < len(entries):
        log.warning("%d of %d pictures are left out: today's suite draws other items", len(entries) - len(same), len(entries))
    write_atomically(folder / ENTRIES, json.dumps(same, indent=1).encode())
    return len(same)
