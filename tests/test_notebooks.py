"""The notebooks run from top to bottom, most on published results, the first on simulated ones too; the files keep their outputs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fila_lab.config.base import FilaError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MADE_HERE = ("07_one_image_through_the_model", "08_your_own_data")
"""Those that read no published results."""
FIRST = ROOT / "notebooks" / "01_fusion_methods.ipynb"
executed = runpy.run_path(str(ROOT / "notebooks" / "execute.py"))["executed"]
every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def said(notebook: Any) -> str:
    """All text of its outputs."""
    return "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs(notebook))


def pictures(notebook: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


@pytest.mark.slow
@every
def test_it_runs_and_says_what_its_file_keeps(path: Path) -> None:
    kept, now = nbformat.read(path, as_version=4), executed(path)
    assert "FAILED" not in said(now)
    assert pictures(now) == pictures(kept)
    printed = [output["text"] for output in outputs(now) if output.output_type == "stream"]
    assert printed == [output["text"] for output in outputs(kept) if output.output_type == "stream"], "`make notebooks` writes it anew"


@every
def test_its_file_keeps_one_run_from_top_to_bottom(path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    nbformat.validate(kept)
    code = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert code == list(range(1, len(code) + 1))
    assert pictures(kept) > 0


@every
def test_it_opens_with_its_question_and_closes_with_its_answer(path: Path) -> None:
    """The answer is printed by code: no number of it is typed."""
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith(f"# {path.stem[:2]} ")
    assert "**Question" in cells[0].source
    *_, heading, answer = cells
    assert heading.source == "## Answer"
    assert answer.cell_type == "code"
    assert "".join(output.get("text", "") for output in answer.outputs).count("\n") >= 2


@every
def test_its_file_names_no_machine_and_no_inside(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
    assert not [output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"]
    assert "Warning" not in said(notebook)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not re.search(r"(from|import) fila_lab[\w.]*\._|\bfila_lab\.(?!analysis\b|load_|draw_item\b)[a-z_]+\._", code)
    assert path.stat().st_size < 2_000_000


def test_there_are_ten() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, 11)]


@pytest.mark.parametrize("name", MADE_HERE)
def test_a_forge_shows_it(name: str) -> None:
    """It is small, and made anew wherever it runs."""
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 400_000
    notebook = nbformat.read(path, as_version=4)
    assert "experiments/results" not in "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_on_simulated_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study = runpy.run_path(str(ROOT / "tests" / "analysis" / "synthetic.py"))["write_study"]
    monkeypatch.setenv("FILA_LAB_RESULTS", str(write_study(tmp_path / "results")))
    text = said(executed(FIRST))
    assert re.search(r"concat .*(is|are) better than none", text.rpartition("On exact/reading")[2])
    assert "FAILED" not in text


def test_missing_results_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its first cell, which needs no kernel of its own for that."""
    monkeypatch.setenv("FILA_LAB_RESULTS", str(tmp_path / "nowhere"))
    first = next(cell.source for cell in nbformat.read(FIRST, as_version=4).cells if cell.cell_type == "code")
    python = "\n".join(line for line in first.splitlines() if not line.startswith("%"))
    with pytest.raises(FilaError, match="no such folder; give the folder a study wrote"):
        exec(compile(python, str(FIRST), "exec"), {})
