"""The gallery: pages of triplets on which arms or places disagree, for the report to show."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.data import PLACES
from fila_lab.config.files import write_atomically
from fila_lab.config.flips import most_divided
from fila_lab.studies.folder import read_plan
from fila_lab.studies.plan import Plan
from fila_lab.studies.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("fila_lab")

COLUMNS = ["item_id", "place", "correct"]
SAID = ["question", "answer"]


def write_gallery(plan: Plan, store: ResultStore) -> int:
    """Draw the chosen triplets into OUT/gallery; returns how many. Nothing is drawn where no cell has predictions by place."""
    predictions = _predictions({cell.id: cell.arm for cell in plan.cells}, store)
    return 0 if predictions is None else _draw(plan.cells[0].config, predictions, store.root / "gallery")


def draw_published(root: Path, folder: Path) -> int:
    """Draw the triplets of published results, of which no pictures are published, into FOLDER; returns how many.

    Pages follow from the suite's seed. Those of which today's suite draws other questions than were answered are left out, and said; so
    are all of them where today's suite cannot draw the study's items.
    """
    try:
        plan = read_plan(root) or {"cells": []}
        cells = [cell for cell in plan["cells"] if cell["phase"] == "main"]
        predictions = _predictions({cell["id"]: cell["arm"] for cell in cells}, ResultStore(root))
        return 0 if predictions is None else _draw(RunConfig.model_validate(cells[0]["config"]), predictions, folder)
    except (FilaError, OSError, ValueError, LookupError) as error:
        log.warning("no pictures of items (%s); the report lists them as text", " ".join(str(error).split())[:300])
        return 0


def _predictions(arms: Mapping[str, str], store: ResultStore) -> pd.DataFrame | None:
    """Of the cells (id -> arm) that have predictions by place: COLUMNS, arm, and what was asked, where they say it."""
    import pandas as pd

    parts = []
    for cell_id, arm in arms.items():
        predictions = store.predictions(cell_id) if store.get(cell_id) is not None else None
        if predictions is None or not set(COLUMNS) <= set(predictions.columns) or not pd.api.types.is_bool_dtype(predictions["correct"]):
            continue
        placed = predictions[predictions["place"].isin(PLACES)]  # a benchmark's items have none
        if len(placed):
            parts.append(placed[[*COLUMNS, *(name for name in SAID if name in placed)]].assign(arm=arm))
    return pd.concat(parts) if parts else None


def _draw(config: RunConfig, predictions: pd.DataFrame, folder: Path) -> int:
    from fila_lab.data.seam.gallery import draw_triplets

    chosen = most_divided(predictions)
    asked = predictions.drop_duplicates("item_id").set_index("item_id").reindex(columns=SAID)
    entries = draw_triplets(config, chosen, folder)
    same = [entry for entry in entries if all(asked.at[entry["item_id"], name] in (entry[name], None) for name in SAID)]
    if len(same) < len(entries):
        log.warning("%d of %d pictures are left out: today's suite draws other items", len(entries) - len(same), len(entries))
    write_atomically(folder / "gallery.json", json.dumps(same, indent=1).encode())
    return len(same)
