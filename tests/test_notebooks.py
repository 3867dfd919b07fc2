"""The notebooks run from top to bottom: on the committed results, and on simulated ones."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from fila_lab.config.base import FilaError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "01_fusion_methods.ipynb"
COMMITTED = ROOT / "experiments" / "results" / "fusion_methods"


def _execute(results: Path | str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FILA_LAB_RESULTS", str(results))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    return notebook


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
def test_on_simulated_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study = runpy.run_path(str(ROOT / "tests" / "analysis" / "synthetic.py"))["write_study"]
    notebook = _execute(write_study(tmp_path / "results"), monkeypatch)
    outputs = _outputs(notebook)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5
    said = "".join(output.get("text", "") for output in outputs)
    assert "Better, beyond the margin: concat − none" in said
    assert "FAILED" not in said


def test_on_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "".join(output.get("text", "") for output in _outputs(_execute(COMMITTED, monkeypatch)))
    assert "it says nothing about" in said
    assert "FAILED" not in said


def test_missing_results_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its first cell, which needs no kernel of its own for that."""
    monkeypatch.setenv("FILA_LAB_RESULTS", str(tmp_path / "nowhere"))
    first = next(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code")
    python = "\n".join(line for line in first.splitlines() if not line.startswith("%"))
    with pytest.raises(FilaError, match="no results there; run `make compare`"):
        exec(compile(python, str(NOTEBOOK), "exec"), {})


def test_it_is_committed_without_outputs() -> None:
    assert not _outputs(nbformat.read(NOTEBOOK, as_version=4))
