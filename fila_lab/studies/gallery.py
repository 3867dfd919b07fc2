"""The gallery: pages of triplets on which arms or places disagree, for the report to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fila_lab.config.files import write_atomically
from fila_lab.config.flips import most_divided
from fila_lab.studies.plan import Plan
from fila_lab.studies.store import ResultStore

if TYPE_CHECKING:
    pass

COLUMNS = ["item_id", "place", "correct"]


def write_gallery(plan: Plan, store: ResultStore) -> int:
    """Draw the chosen triplets into OUT/gallery; returns how many. Nothing is drawn where no cell has predictions by place."""
    import pandas as pd

    parts = []
    for cell in plan.cells:
        predictions = store.predictions(cell.id) if store.get(cell.id) is not None else None
        if predictions is not None and set(COLUMNS) <= set(predictions.columns) and pd.api.types.is_bool_dtype(predictions["correct"]):
            parts.append(predictions[COLUMNS].assign(arm=cell.arm))
    if not parts:
        return 0
    chosen = most_divided(pd.concat(parts))
    from fila_lab.data.seam.gallery import draw_triplets

    entries = draw_triplets(plan.cells[0].config, chosen, store.root / "gallery")
    write_atomically(store.root / "gallery" / "gallery.json", json.dumps(entries, indent=1).encode())
    return len(entries)
