"""Tables of the terminal drop columns, not digits, until they fit."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from fila_lab import analysis
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.fitted import Column, Fitted


def printed(thing: object, width: int) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(thing)
    return buffer.getvalue()


@pytest.fixture
def table() -> Fitted:
    columns = [Column("arm", name=True), Column("accuracy"), Column("ms", 1), Column("MiB", 2)]
    return Fitted("what was measured", columns, [[Text(cell) for cell in ("gated concat", "55.6 ± 0.4", "12.345", "123456")]])


@pytest.mark.parametrize(("width", "left_out"), [(80, []), (40, ["MiB"]), (30, ["ms", "MiB"])])
def test_the_least_needed_go_first_and_are_named(table: Fitted, width: int, left_out: list[str]) -> None:
    text = printed(table, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "55.6 ± 0.4" in text
    for heading, digits in (("ms", "12.345"), ("MiB", "123456")):
        assert (digits in text) == (heading not in left_out)
    assert ("Left out for the width:" in " ".join(text.split())) == bool(left_out)
    assert "…" not in text


def test_a_summary_fits_a_narrow_terminal_with_all_its_digits(full_findings: Findings) -> None:
    wide, narrow = (printed(analysis.terminal_summary(full_findings), width) for width in (200, 72))
    assert all(len(line) <= 72 for line in narrow.splitlines())
    assert "\x1b" not in narrow, "plain where it is no terminal"
    primary = re.findall(r"\d+\.\d ± \d+\.\d", wide)
    assert len(primary) >= 6
    assert all(value in narrow for value in primary[:6])
    rows = [line for line in wide.partition("A − B, points")[2].splitlines() if line.startswith("│")]
    means = [found[0] for line in rows if (found := re.search(r"[+−]\d+\.\d \[[^]]*\]", line))]  # those of this study come first
    assert len(means) >= 6
    assert all(value in narrow for value in means[:6])
    assert "MiB" in wide
