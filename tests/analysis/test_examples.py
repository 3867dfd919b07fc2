"""Every public name of `fila_lab.analysis` is there, typed, and has an example in its docstring that runs, on published results."""

from __future__ import annotations

import doctest
import functools
import inspect
import typing
from pathlib import Path

import pytest

import fila_lab.analysis as analysis
from fila_lab.analysis import Findings

ROOT = Path(__file__).parents[2]
DRAWS_A_REPORT = {"write_report", "write_summary"}
"""Take seconds each."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module", autouse=True)
def _at_the_root() -> typing.Iterator[None]:
    """Examples name folders of the repository; those that read the same one share what was computed of it."""
    of = functools.cache(Findings.of)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(Findings, "of", staticmethod(lambda out: out if isinstance(out, Findings) else of(str(getattr(out, "out", out)))))
        yield


def test_every_public_name_is_listed() -> None:
    assert set(analysis.__all__) <= set(dir(analysis))
    assert {"load", "StudyFrames", "interval_plot", "profile_plot", "improvement_plot"} <= set(dir(analysis))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DRAWS_A_REPORT else name for name in analysis.__all__]
)
def test_its_example_runs(name: str) -> None:
    public = {other: getattr(analysis, other) for other in analysis.__all__}
    finder = doctest.DocTestFinder(recurse=inspect.isclass(public[name]))
    examples = finder.find(public[name], name, globs=public)
    assert any(test.name == name and test.examples for test in examples), "no example in its docstring"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", [name for name in analysis.__all__ if inspect.isfunction(getattr(analysis, name))])
def test_its_arguments_are_typed(name: str) -> None:
    function = getattr(analysis, name)
    assert set(inspect.signature(function).parameters) | {"return"} == set(function.__annotations__)
