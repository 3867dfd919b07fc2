"""Where a pretraining stands, beside the file it will write: one that was stopped goes on with the same command, to the same bits."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fila_lab.config.files import becoming, move_aside

log = logging.getLogger("fila_lab")

EVERY = 500
"""Steps between two checkpoints."""


@dataclass(frozen=True)
class Checkpoint:
    """OUT/<file>.part. `told`: everything that the steps depend on; one of other steps is set aside."""

    weights: Path
    told: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return self.weights.with_suffix(".part")

    @property
    def _owner(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.told), sort_keys=True, default=str).encode()).hexdigest()

    def read(self) -> dict[str, Any] | None:
        """What `write` was given last; None where there is nothing to go on with."""
        try:
            held = torch.load(self.path, weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            self._aside(f"cannot be read ({error})")
            return None
        if not isinstance(held, dict) or held.get("owner") != self._owner:
            self._aside("is of another command, or of other versions")
            return None
        log.info("%s: goes on at step %s", self.path.name, held["state"]["step"])
        return dict(held["state"])

    def _aside(self, why: str) -> None:
        aside = move_aside(self.path, "other")
        log.warning("%s %s: moved to %s; the pretraining starts anew", self.path.name, why, aside.name)

    def due(self, step: int, steps: int) -> bool:
        """Whether to write after so many steps are done."""
        return step % EVERY == 0 and step < steps

    def write(self, **state: Any) -> None:
        """Replace it.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        with becoming(self.path) as temporary:
            torch.save({"owner": self._owner, "state": state}, temporary)

    def remove(self) -> None:
        """Of a pretraining that has ended."""
        self.path.unlink(missing_ok=True)
