"""A cell's model as it was trained: beside the weights that it was trained from, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fila_lab.config import FilaError
from fila_lab.config.json_files import read_json
from fila_lab.modeling import FilaModel, build_model
from fila_lab.training.cell import weights_used
from fila_lab.training.trained import fill, trained_parts


def trained_model(cell: Path, field: str) -> FilaModel:
    """The model of a cell's folder. field: what messages call the folder.

    Raises:
        FilaError: no trained parts there, weights that are not to be had, or others than the cell was trained from, by its manifest.
    """
    config, state = trained_parts(cell, field)
    model = build_model(config)
    recorded = _recorded(cell)
    for part, digest in weights_used(config, model).items() if recorded else ():
        if recorded.get(part, digest) != digest:
            spec = getattr(config, part).weights
            raise FilaError(
                f"{field}={cell}: {part}.weights={spec!r} is not what the cell was trained from (sha256 {digest[:12]}, not "
                f"{recorded[part][:12]}); put the former file back"
            )
    fill(model, state, cell, field)
    return model


def _recorded(cell: Path) -> dict[str, str]:
    """sha256 of the weights that a cell was trained from, by part; empty where no manifest tells."""
    try:
        content: Any = read_json(cell / "manifest.json")
        return {str(part): str(digest) for part, digest in content["weights"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
