"""What is committed under experiments/results is whole and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json
from fila_lab.config.published import MANIFEST, read_mark
from fila_lab.config.schemas import PUBLISHED

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/plan.json"))
LIMIT = 10_000_000
"""Bytes of all committed results."""


def test_there_are_few_bytes() -> None:
    assert sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) < LIMIT


@pytest.mark.parametrize("study", STUDIES)
def test_every_file_is_the_one_that_was_published_and_none_is_beside_them(study: str) -> None:
    folder = RESULTS / study
    mark = read_mark(folder)
    assert mark is not None
    assert mark.schema == PUBLISHED
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    manifest = read_json(files.pop(MANIFEST))
    there = {name: file_sha256(path) for name, path in files.items()}
    assert there == mark.files
    assert {name: path.stat().st_size for name, path in files.items()} == manifest["bytes"]
    assert {"study.yaml", "plan.json", "cells.parquet", "items.parquet", "predictions.parquet", "costs.json", "report.md"} <= set(there)
    text = (folder / "report.md").read_text(encoding="utf-8")
    figures = re.findall(r"\]\((figures/\w+\.png)\)", text)
    assert 2 <= len(figures) <= 3
    assert set(figures) == {name for name in there if name.startswith("figures/")}
