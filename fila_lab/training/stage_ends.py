"""The end of a training stage in a folder: all that has trained so far, and what was recorded. Written when the stage is done, looked at
before it is believed; from there another process, or another cell that shares the stages, goes on.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fila_lab.config import FilaError, MachineError, RunConfig
from fila_lab.config.json_files import read_json
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.data.sealed import DamagedError, alone, digests, look, put, seal
from fila_lab.training.trained import save_state, trained_parts

log = logging.getLogger("fila_lab")

END = "end"
MARK = "complete.json"
RECORD = "record.json"


@dataclass(frozen=True)
class StageEnd:
    """Parameters by name, the state of the Recorder, and where they lie."""

    trained: dict[str, Tensor]
    record: dict[str, Any]
    folder: Path


def write_end(folder: Path, mark: str, trained: dict[str, Tensor], config: RunConfig, record: dict[str, Any]) -> None:
    """Write what the stages up to one have come to.

    Args:
        mark: what the stages are (`config.stage_runs.stage_mark`).
        trained: the parameters that they trained, by name.
        record: the Recorder's state between two steps, where it holds no tensors.

    Raises:
        OSError: it cannot be written.
    """

    def make(temporary: Path) -> None:
        save_state(trained, config, temporary / TRAINED_PARTS)
        (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
        seal(temporary, MARK, {"stages": mark}, digests(temporary))

    with alone(folder):
        put(folder, make)


def read_end(folder: Path, mark: str) -> StageEnd | None:
    """What lies there, its content compared with what was written; None where nothing does, or, with a warning, what cannot be used."""
    if not os.path.lexists(folder):
        return None
    try:
        if look(folder, MARK, contents=True).get("stages") != mark:
            raise DamagedError("it is of other stages")
        _, trained = trained_parts(folder)
        record = read_json(folder / RECORD)
        os.utime(folder)
    except (FilaError, OSError, ValueError) as error:
        log.warning("the end of a training stage in %s cannot be used (%s); the stage is trained again", folder, error)
        return None
    return StageEnd(trained, record, folder)


def copy_end(source: Path, final: Path, mark: str) -> None:
    """Put an end in another place, as a whole, in the place of what is there.

    Raises:
        OSError: it cannot be written.
        MachineError: what is to be copied is damaged.
    """
    card = look(source, MARK, contents=True)
    if card.get("stages") != mark:
        raise MachineError(f"{source} is not the end of these training stages; delete it, and give the same command again", "cache damaged")

    def make(temporary: Path) -> None:
        for name in card["files"]:
            shutil.copyfile(source / name, temporary / name)
        seal(temporary, MARK, {"stages": mark}, digests(temporary))

    put(final, make)
