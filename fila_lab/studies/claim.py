"""What in a folder is a study's own: whether a study may begin there, and what of its own work it may clear away."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from fila_lab.config.base import FilaError
from fila_lab.config.compact import is_compact
from fila_lab.config.files import left_over
from fila_lab.config.json_files import read_json
from fila_lab.config.published import read_mark
from fila_lab.studies.folder import read_head
from fila_lab.studies.mirror.database import DATABASE, clear_left_over

WRITTEN = frozenset(
    {
        "study.yaml",
        "plan.json",
        "lock.json",
        "progress.json",
        "costs.json",
        "costs.manifest.json",
        "costs.rounds.json",
        "costs.lock",
        "mlflow.db",
        "mlflow.lock",
        "calibration.md",
        "mlartifacts",
        "cells",
        "work",
        "logs",
        "tuning",
        "sweep",
        "gallery",
        "report",
    }
)
"""Names that a study writes in its folder."""
WRITTEN_BELOW = frozenset(
    {
        *("drawn.json", "gallery.json", "trials.csv", "winners.yaml", "cells.jsonl", "trials.json"),
        *("costs.json", "costs.rounds.json", "key.json", "key.begun"),
    }
)
WORK = "work"
PREPARING = "preparation"
_HASH = re.compile(r"[0-9a-f]{16}")


def check_free(root: Path, study_file: bytes) -> None:
    """Refuse a folder whose files are somebody's and would be written over. study_file: the content of the study's.

    Raises:
        FilaError: `root` holds published results, or is no study's folder and has files or folders of the names that a study writes.
    """
    if read_mark(root) is not None or is_compact(root):
        raise FilaError(
            f"--out: {root} holds published results, to which nothing is added; run elsewhere, e.g. below runs/, and publish that folder"
        )
    if not root.is_dir() or read_head(root) is not None or any(_signed(path) for path in root.glob("lock*.json")):
        return
    foreign = sorted(path.name for path in root.iterdir() if path.name in WRITTEN and not _harmless(path, study_file))
    if foreign:
        raise FilaError(
            f"--out: {root} is no study's folder and holds {', '.join(foreign)}, which a study would write over; choose a new folder, "
            "e.g. one below runs/"
        )


def _signed(path: Path) -> bool:
    """Whether this is the lock file of a driver."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"pid", "host", "shard", "since"} <= set(content)


def _harmless(path: Path, study_file: bytes) -> bool:
    """An empty folder, an empty file, or the study file itself."""
    with suppress(OSError):
        if path.is_dir():
            return not any(path.iterdir())
        return path.stat().st_size == 0 or (path.name == "study.yaml" and path.read_bytes() == study_file)
    return False


def tidy(root: Path, alone: bool) -> None:
    """Remove the temporary files that killed drivers left at the folder's root and in its tables; see `left_over` for `alone`."""
    for folder in (root, root / "tuning", root / "sweep", root / "gallery"):
        if not folder.is_dir():
            continue
        for path in folder.iterdir():
            if left_over(path, WRITTEN - {DATABASE} if folder == root else WRITTEN_BELOW, alone):
                path.unlink(missing_ok=True)
    clear_left_over(root)


def workdir(root: Path, code: str, name: str) -> Path:
    """Where work in progress of a cell, or the preparation, is kept: apart by code, so that a checkpoint of other code is never resumed."""
    return root / WORK / code / name


def clear_work(root: Path, code: str) -> None:
    """Remove the work in progress of all cells, of this code and of any other; what else lies there stays."""
    folders = [path for path in _folders(root / WORK) if path.name == code or _HASH.fullmatch(path.name)]
    for folder in folders:
        for path in _folders(folder):
            if path.name == PREPARING or _HASH.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
    for folder in (*folders, root / WORK):
        with suppress(OSError):
            folder.rmdir()


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()] if folder.is_dir() else []
