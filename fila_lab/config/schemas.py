"""Versions of plans and of published results (that of results and configurations: `fila_lab.config.renamed`), and the refusal of what a
newer fila_lab wrote. What older ones wrote is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fila_lab.config.base import FilaError

PLAN = 1
"""`plan.json`; one without a version is of version 1."""
TRIALS = 1
"""`sweep/trials.json`."""
PUBLISHED = 2
"""Published results. 1: a file a cell; 2: tables of all cells (`fila_lab.config.compact`)."""


def refuse_newer(path: Path, version: Any, known: int) -> None:
    """Refuse a file whose version is above the one known here; what is no version at all is left to the reader of the file.

    Raises:
        FilaError: naming both versions.
    """
    if isinstance(version, int) and version > known:
        raise FilaError(
            f"{path}: schema {version} is of a newer fila_lab, this one reads up to {known}; update fila_lab (`git pull && make setup`)"
        )
