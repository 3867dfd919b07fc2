"""Runs notebooks from top to bottom and keeps their outputs in the files: `python notebooks/execute.py [NAME...]`, without names all."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SECONDS = 300
"""Before a cell, or a kernel that does not start, is given up."""


def executed(path: Path) -> Any:
    """The notebook with the outputs of a run in a kernel of its own, started where the notebook lies. Errors: nbclient's, of a cell."""
    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # tqdm's, of bars that no notebook here draws
    there: Any = {"metadata": {"path": str(HERE)}}
    times = {"timeout": SECONDS, "startup_timeout": SECONDS, "record_timing": False}
    NotebookClient(notebook, coalesce_streams=True, resources=there, **times).execute()
    notebook.metadata["language_info"] = {"name": "python"}  # the rest tells of the machine's Python
    return notebook


def main(names: list[str]) -> None:
    for path in [HERE / f"{name}.ipynb" for name in names] or sorted(HERE.glob("*.ipynb")):
        began = time.monotonic()
        nbformat.write(executed(path), path)
        print(f"{path.stem}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
