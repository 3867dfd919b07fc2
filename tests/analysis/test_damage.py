"""A folder in which any one file is missing or damaged is reported with what is left, or refused with one message; never a traceback."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.findings import Findings
from fila_lab.config.base import FilaError

FILES = (
    *("plan.json", "costs.json", "gallery/gallery.json", "gallery/0-cut.png", "tuning/trials.csv", "cells/concat-t1/result.json"),
    *("cells/concat-0001/result.json", "cells/concat-0001/manifest.json", "cells/concat-0001/predictions.parquet"),
)
ODD: tuple[Any, ...] = (None, [], {}, "x", 1, [None], {"x": None}, {"x": "y"}, {"exact/reading": "y"}, float("nan"), float("inf"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_study(tmp_path_factory.mktemp("whole"), arms=("none", "concat"), seeds=(0, 1, 2), triplets=8, gallery=True)
    content = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    content["study"]["name"] = "of_no_published_results"
    (out / "plan.json").write_text(json.dumps(content), encoding="utf-8")
    (out / "tuning").mkdir()
    analysis.load_tuning(out).to_csv(out / "tuning" / "trials.csv", index=False)
    return out


def _bytes(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def _damages(path: Path) -> Iterator[tuple[str, bytes]]:
    """What a kill, a full disk, an editor or another program may leave of a file."""
    raw = path.read_bytes()
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else None  # now: the file is another one between two damages
    yield "empty", b""
    yield "garbage", bytes((byte * 7 + 13) % 256 for byte in raw)
    if path.suffix == ".json":
        for text in ("null", "[]", "{}", "0", '"x"', "[1]"):
            yield text, text.encode()
        content = json.loads(raw)
        for key in content if isinstance(content, dict) else ():
            yield f"without {key}", json.dumps({name: value for name, value in content.items() if name != key}).encode()
            for odd in ODD:
                yield f"{key} = {odd}", json.dumps({**content, key: odd}).encode()
    if frame is not None:
        yield "no rows", _bytes(frame.iloc[:0])
        yield "one row", _bytes(frame.iloc[:1])
        for column in frame:
            yield f"without {column}", _bytes(frame.drop(columns=column))
            for odd in (None, "x", 2):
                yield f"{column} = {odd}", _bytes(frame.assign(**{str(column): odd}))


def _nodes(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a JSON value stands; of a list, its ends."""
    yield at
    keys = list(value) if isinstance(value, dict) else sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield from _nodes(value[key], (*at, key))


def _with(value: Any, at: tuple[Any, ...], odd: Any) -> Any:
    if not at:
        return odd
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = _with(value[at[0]], at[1:], odd)
    return copy


def _said(out: Path) -> str:
    """Report and terminal, or the one message."""
    try:
        findings = Findings.of(out)
        analysis.write_report(findings)
        console = Console(width=500, record=True, file=io.StringIO())
        console.print(analysis.terminal_summary(findings))
    except FilaError as error:
        return f"message: {error}"
    return console.export_text()


@pytest.fixture
def out(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "draw_figures", lambda found, target: [])  # they take most of a report's time
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_or_cut_is_no_traceback(out: Path, name: str) -> None:
    path = out / name
    raw = path.read_bytes()
    path.unlink()
    assert _said(out)
    path.write_bytes(raw[: len(raw) // 2])
    said = _said(out)
    if name.startswith("cells/concat-0001/") and "manifest" not in name:
        assert "seed 1" in said or "concat-0001" in said, "what is missing is named"


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_damage_to_a_file_is_a_traceback(out: Path, name: str) -> None:
    path = out / name
    raw = path.read_bytes()
    for _, damaged in _damages(path):
        path.write_bytes(damaged)
        assert _said(out)
    path.write_bytes(raw)


DEEP: tuple[Any, ...] = (None, 10**400, -1, "x", "\0", [], {}, [[]], {"a": {"b": None}}, float("nan"))


def _small(out: Path, name: str) -> Any:
    """A plan with all that one can hold, and only its first and last cell; another file as it is."""
    content = json.loads((out / name).read_text(encoding="utf-8"))
    if name == "plan.json":
        solved = {"quantity": "flops", "target": "none", "wanted": 1e9, "path": "fusion.hidden", "value": 8, "reached": 1e9, "part": 1e7}
        content["matches"] = {"concat": solved | {"off_whole": 0.0, "off_part": 0.0}}
        content["declared"] = {"question": "which?", "margin": 0.02, "families": {"methods": {"contrasts": [["concat", "none"]]}}}
        content |= {"step_seconds": {"concat": 0.5}, "cells": [content["cells"][0] | {"config": {}}, content["cells"][-1]]}
        content["study"] = {key: content["study"][key] for key in ("name", "question", "arms", "families", "margin", "budgets")}
    return content


@pytest.mark.parametrize("every", [31, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["plan.json", "cells/none-0000/result.json"])
def test_no_damage_at_any_depth_is_a_traceback(out: Path, name: str, every: int) -> None:
    """The readers alone: of pages and tables, above."""
    content = _small(out, name)
    nodes = [at for at in _nodes(content) if name == "plan.json" or at[:1] != ("config",) or at[1:2] == ("train",)]
    read = 0
    for at, odd in list(itertools.product(nodes, DEEP))[::every]:
        (out / name).write_text(json.dumps(_with(content, at, odd)), encoding="utf-8")
        try:
            folder = analysis.StudyFolder.open(out)
            assert isinstance([folder.notes(), folder.changed, folder.baseline], list)
            assert all(f"{match['off_whole']:+.2%}" for match in folder.matches.values())
            for load in (analysis.load_study_frame, analysis.load_tuning, analysis.load_curves, analysis.failures):
                load(folder)
            read += 1
        except FilaError:
            continue
    assert read
