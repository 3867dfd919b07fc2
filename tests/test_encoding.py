"""Texts are UTF-8 in every locale: files say their encoding, and no verb ends in an encoding error."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPENED = re.compile(r"\b(open|read_text|write_text)\b")
LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
}


def _unsaid(path: Path) -> Iterator[str]:
    """Calls that open a file as text without saying its encoding."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if OPENED.search(text) else ():
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        given = [argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
        modes = [word for word in given if set(word) <= set("rwaxtb+")]
        as_text = name in ("read_text", "write_text") or (name == "open" and bool(modes) and "b" not in modes[-1])
        if as_text or (isinstance(called, ast.Name) and name == "open" and not modes):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_every_text_file_is_opened_with_its_encoding() -> None:
    found = [place for room in ("fila_lab", "benchmarks", "tests") for path in (ROOT / room).rglob("*.py") for place in _unsaid(path)]
    assert not found


def speak(locale: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO", "PYTHONUTF8"))}
    environment = {**kept, **LOCALES[locale], "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "fila_lab", *arguments], cwd=cwd, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("locale", LOCALES)
def test_names_and_questions_of_any_script_are_planned_in_every_locale(locale: str, tmp_path: Path) -> None:
    study = (ROOT / "experiments" / "remove_fusion.yaml").read_text(encoding="utf-8").splitlines()
    study = ["question: 'Größe ± 日本 🦊?'" if line.startswith("question:") else line for line in study]
    (tmp_path / "study.yaml").write_text("\n".join(study), encoding="utf-8")
    done = speak(locale, "plan", "study.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if locale == "UTF-8":
        assert "Größe ± 日本 🦊?".encode() in done.stdout


@pytest.mark.parametrize("locale", [pytest.param(name, marks=() if name == "C" else pytest.mark.slow) for name in LOCALES])
@pytest.mark.parametrize(
    "arguments", [["plan", "grö日.yaml"], ["report", "no", "--out", "é🦊"], ["predict", "é.png", "ß?", "--cell", "日"]]
)
def test_mistakes_are_told_in_every_locale(locale: str, arguments: list[str], tmp_path: Path) -> None:
    done = speak(locale, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
