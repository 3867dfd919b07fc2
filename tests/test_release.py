"""What a release says of itself agrees: version, licence, and the lock file that belongs to no machine."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from fila_lab.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def test_version_and_licence_are_the_same_wherever_they_stand(project: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (str(citation["version"]), citation["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert not stop.value.code
    assert capsys.readouterr().out.split() == ["fila-lab", project["version"]]


def test_the_lock_file_holds_exact_versions_alone_and_all_that_is_asked_for(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert re.search(r"for Python 3\.\d+ ", lines[0])  # what `make setup` looks for
    locked = {}
    for line in lines:
        if not line.startswith("#"):
            found = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)", line)
            assert found, line
            locked[_canonical(found[1])] = found[2]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert not {_canonical(re.split(r"[\[<>=!~; ]", each)[0]) for each in asked} - set(locked)
    installed = re.findall(r"(torch\w*)==([\d.]+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert [locked[name] for name, _ in installed] == [version for _, version in installed]


def test_the_locked_versions_are_within_the_range_that_is_supported(project: dict[str, Any]) -> None:
    locked = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line)
    versions = {_canonical(name): version for name, version in locked.items()}
    for each in map(Requirement, project["dependencies"]):
        assert each.specifier.contains(versions[_canonical(each.name)], prereleases=True), each


def test_the_oldest_versions_are_those_of_the_lower_bounds() -> None:
    given = ["torch>=2.6", "torchvision", "lightning>=2.5,!=2.6.2,!=2.6.3", "threadpoolctl>=3", "ray[client]>=2.9.1"]
    oldest = runpy.run_path(str(ROOT / "tests" / "oldest.py"))["oldest"]
    assert list(oldest(given)) == ["torch>=2.6,<2.7", "lightning>=2.5,<2.6,!=2.6.2,!=2.6.3", "threadpoolctl>=3,<4", "ray>=2.9.1,<2.9.2"]


def test_continuous_integration_runs_what_a_user_can_run() -> None:
    commands = [line for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "set", "cd"))]
    assert commands == ["make lint", "make test"]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
