"""The table of contrasts as the page shows it: family by family, verdicts beside the contrasts' names."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fila_lab.analysis.answer import control_families
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.tables import Table

RANKS = {"difference [95 %]": "first"} | dict.fromkeys(("A", "B", "new items [95 %]", "Holm p"), "second")
"""Column of a table of contrasts -> the width of page from which it is shown: any, a tablet's; the others a wide screen's."""
BESIDE_THE_NAME = ("family", "A − B", "verdict", "size", "mark")


def family_rows(findings: Findings, verdicts: Table) -> list[dict[str, Any]]:
    """The rows of the table of verdicts family by family, with the columns that do not stand beside the contrast's name; families of one
    contrast each stand together, and then name themselves in their rows."""
    controls = control_families(findings)
    columns = [column for column in verdicts.shown.columns if column not in BESIDE_THE_NAME]
    first = [column for column in columns if RANKS.get(column) == "first"]
    columns = first + [column for column in columns if column not in first]
    groups = [(str(name), str(name) in controls, own) for name, own in verdicts.shown.groupby("family", sort=False)]
    alone = [own for _, control, own in groups if not control and len(own) == 1]
    if len(alone) > 2:
        together = [("families of one contrast", False, pd.concat(alone))]
        groups = together + [group for group in groups if group[1] or len(group[2]) > 1]
    return [
        {"name": name, "controls": control, "columns": columns, "rows": own.to_dict("records"), "named": own["family"].nunique() > 1}
        for name, control, own in groups
    ]
