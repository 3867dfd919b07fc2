"""The generated pages of the reference are what the models and the command line say today."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_up_to_date() -> None:
    for file, text in runpy.run_path(str(ROOT / "docs" / "reference.py"))["pages"]().items():
        assert file.read_text(encoding="utf-8") == text, f"{file.name} is of before; `make reference` writes it"
