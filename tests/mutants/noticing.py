"""A pytest plugin that notes which lines of chosen files each test runs, so that a fault is shown only to the tests that reach it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

EVERYWHERE = "*"
"""Stands for what runs outside a single test: imports, and fixtures that several tests share."""


class Noticing:
    """Writes `out` at the end of the session: {test: seconds} and {file: {line: [tests]}}."""

    def __init__(self, files: list[Path], out: Path) -> None:
        self.files = {str(path.resolve()) for path in files}
        self.out = out
        self.now = EVERYWHERE
        self.seconds: dict[str, float] = {}
        self.reached: dict[str, dict[int, set[str]]] = {name: {} for name in self.files}

    def _global(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self.files:
            return None
        self._note(frame)
        return self._local

    def _local(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self._note(frame)
        return self._local

    def _note(self, frame: FrameType) -> None:
        self.reached[frame.f_code.co_filename].setdefault(frame.f_lineno, set()).add(self.now)

    def pytest_sessionstart(self) -> None:
        threading.settrace(self._global)
        sys.settrace(self._global)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.now = item.nodeid.partition("::")[0]  # fixtures may be shared: all tests of the file
        yield
        self.now = item.nodeid

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        yield
        self.now = EVERYWHERE

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        reached = {name: {line: sorted(tests) for line, tests in lines.items()} for name, lines in self.reached.items()}
        self.out.write_text(json.dumps({"seconds": self.seconds, "reached": reached}), encoding="utf-8")
