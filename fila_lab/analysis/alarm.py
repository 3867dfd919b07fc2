"""One alarm: what a reader must know before any verdict. `alarms` collects them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""error: some verdict cannot stand; warning: read it with this in mind; note: what was asked for and is not here."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Alarm:
    """`kind` groups alarms of one sort, `text` says with names and numbers what is wrong.

    Example:
        >>> Alarm("failed cells", "2 of 16 cells failed", "error").line()
        'Error, failed cells: 2 of 16 cells failed'
    """

    kind: str
    text: str
    severity: Severity

    def line(self) -> str:
        """As the terminal, the Markdown page and the headline say it."""
        return f"{self.severity.capitalize()}, {self.kind}: {self.text}"
