"""`status --watch` and its page, `ui`: what is drawn, and what is said where there is nothing to show."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fila_lab.cli.verbs import app
from fila_lab.cli.watch import cell_name, headline, is_over, picture, watch
from fila_lab.cli.watch_page import page_text, write_page
from fila_lab.studies.outlook import Outlook, Row, Square


def outlook(seeds: int = 4, arms: int = 2, drivers: tuple[str, ...] = ("process 1 on host",)) -> Outlook:
    squares = (
        Square("a", 0, None, "done", 1.0, seconds=60.0),
        Square("b", 1, None, "failed", 1.0, seconds=3.0, failure="error: <no & such>"),
        Square("c", 2, None, "running", 0.5, "train 20/40", 30.0),
        *(Square(f"d{seed}", seed, None, "left") for seed in range(3, seeds)),
    )
    rows = tuple(Row(f"<arm {number}>", "main", squares) for number in range(arms))
    return Outlook("study", "small", "is it & how?", 1e9, rows, drivers, 2, ("preparation: features 1/2",), 12.0, 75.0)


def drawn(seen: Outlook, width: int = 100, height: int = 40, encoding: str = "utf-8", terminal: bool = True) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(file=file, width=width, height=height, force_terminal=terminal, color_system=None)
    console.print(picture(seen, console))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]


def test_the_terminal_shows_a_letter_a_cell_and_what_runs() -> None:
    lines = drawn(outlook())
    assert any("█✗▄·" in line for line in lines)
    assert any("<arm 0> seed 2: train 20/40  50%  0:30" in line for line in lines)
    assert any("<arm 1> seed 1 failed: error: <no & such>" in line for line in lines)
    assert "2 of 8 cells done, 2 failed, 2 running, 12 cells/hour, about 1:15 left" in lines[1]
    assert any("#x~." in line for line in drawn(outlook(), encoding="ascii"))


def test_while_a_search_goes_on_the_counts_are_said_to_be_of_known_cells() -> None:
    seen = dataclasses.replace(outlook(), searching="sweep")
    assert headline(seen).startswith("2 of 8 known cells done")
    assert headline(seen).endswith("about 1:15 left, the sweep will ask for more")
    assert "The sweep has not ended" in page_text(seen, 10.0)
    done = dataclasses.replace(outlook(seeds=0, arms=0, drivers=()), searching="sweep")
    assert not is_over(done)
    assert "complete" not in headline(done).lower() + page_text(done, None).lower()


def test_cells_of_a_sweep_are_called_by_their_trial_and_of_tuning_by_their_arm_too() -> None:
    square = Square("a", 1000, 3, "running", 0.5, "train 1/2", 1.0)
    names = {phase: cell_name(Row("concat", phase, (square,)), square) for phase in ("sweep", "tuning")}
    assert names == {"sweep": "trial 3 seed 1000", "tuning": "concat trial 3 seed 1000"}
    seen = dataclasses.replace(outlook(), rows=(Row("concat", "sweep", (square,)),))
    assert "concat" not in "".join(drawn(seen)) + page_text(seen, None)


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (200, 60)])
def test_a_large_study_fits_the_terminal(width: int, height: int) -> None:
    lines = drawn(outlook(seeds=1000, arms=200), width, height)
    assert max(map(len, lines)) <= width
    assert any("more arms" in line for line in lines)


def test_a_narrow_terminal_shows_counts_that_can_be_read() -> None:
    seen = outlook(seeds=30)
    seen = replace(seen, rows=(*seen.rows, replace(seen.rows[0], phase="sweep")))
    lines = drawn(seen, 20, 40)
    assert "arm done failed left" in [line.strip() for line in lines]
    assert any(re.fullmatch(r"<ar +1 +1 +28", line.strip()) for line in lines)
    assert sum(line.rstrip().endswith(" 28") for line in drawn(seen, 40, 40)) == 3, "an arm's search and its cells are two lines"


def test_the_page_is_one_file_that_reloads_itself() -> None:
    text = page_text(outlook(), 10.0)
    assert '<meta http-equiv="refresh" content="10">' in text
    assert "&lt;arm 0&gt;" in text
    assert "error: &lt;no &amp; such&gt;" in text
    assert "<arm" not in text
    assert not re.search(r"(src|href)=|url\(|@import", text), "nothing from elsewhere"
    assert text.count('class="running" title') == 2
    assert "http-equiv" not in page_text(outlook(), None)


def test_watching_ends_with_the_study_and_with_ctrl_c(tmp_path: Path) -> None:
    seen = [outlook(), outlook(seeds=3, drivers=())]
    console = Console(file=io.StringIO(), width=100)
    watch(lambda: seen.pop(0), 0.01, lambda each: write_page(tmp_path / "page.html", each, 0.01), console)
    assert not seen
    assert "complete" in (tmp_path / "page.html").read_text(encoding="utf-8").lower()
    assert headline(outlook(drivers=())).endswith("nobody is at work")

    def interrupted() -> Outlook:
        raise KeyboardInterrupt

    watch(interrupted, 0.01, None, console)


def test_ui_says_what_is_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ui", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no mlflow.db yet" in result.output
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["ui", str(tmp_path), "--port", str(port)])
    assert result.exit_code == 2
    assert f"--port = {port}: cannot be used" in result.output


def test_ui_names_the_page_with_the_studys_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fila_lab.cli.ui._serve", lambda *_: 0)
    plan = {"study": {"name": "it's"}, "budget": "small", "study_hash": "0", "cells": []}
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        address = CliRunner().invoke(app, ["ui", str(tmp_path)]).output
        assert "http://127.0.0.1:5000/ in" in address, "a database without experiments has its first page"
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        database.executemany("INSERT INTO experiments VALUES (?, ?)", [(0, "Default"), (7, "it's")])
        database.commit()
    assert "http://127.0.0.1:5000/#/experiments/7/runs in" in CliRunner().invoke(app, ["ui", str(tmp_path)]).output


def test_a_page_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    from fila_lab.config import ConfigError

    with pytest.raises(ConfigError, match=r"--html = .*cannot be written"):
        write_page(tmp_path / "missing" / "page.html", outlook(), None)
