"""The table of rooms, and the faults that went unnoticed, equivalent ones with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

EQUIVALENT = Path(__file__).with_name("equivalent.yaml")


def equivalent() -> dict[str, str]:
    """Faults that change nothing a test could see: key -> reason."""
    return dict(yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or {})


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: by room the faults tried, equivalent, noticed, and the share of the others that was noticed; then the survivors."""
    reasons = equivalent()
    lines = ["| room | faults | equivalent | noticed | unnoticed | share |", "|---|---|---|---|---|---|"]
    rooms = list(dict.fromkeys(record["room"] for record in results))
    for room in [*rooms, "all"]:
        own = [record for record in results if room in (record["room"], "all")]
        noticed = sum(record["noticed"] for record in own)
        same = sum(not record["noticed"] and record["fault"] in reasons for record in own)
        real = len(own) - same
        lines.append(f"| {room} | {len(own)} | {same} | {noticed} | {real - noticed} | {noticed / real if real else 1:.0%} |")
    survivors = [record for record in results if not record["noticed"]]
    for title, chosen in (("Unnoticed", False), ("Equivalent", True)):
        own = [record for record in survivors if (record["fault"] in reasons) == chosen]
        if own:
            lines += ["", f"## {title}", ""]
            lines += [f"- {record['room']}: `{record['fault']}`" + (f": {reasons[record['fault']]}" if chosen else "") for record in own]
    return "\n".join(lines) + "\n"
