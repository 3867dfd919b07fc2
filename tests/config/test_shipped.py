"""Studies and recipes that come with the package are found from any folder, and a folder's own come first."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.cli.options import study_path
from fila_lab.config import resolve_run
from fila_lab.config.shipped import experiments, shipped, shipped_studies


def test_a_shipped_study_is_found_by_name_and_by_the_path_that_pages_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = experiments()
    assert folder is not None
    for word in ("fusion_methods", "experiments/fusion_methods.yaml"):
        assert study_path(word) == folder / "fusion_methods.yaml"
    assert resolve_run("experiments/recipes/llava15.yaml").preset == "llava15"
    assert shipped(Path("experiments/no_such.yaml")) == Path("experiments/no_such.yaml")


def test_a_study_of_ones_own_comes_before_a_shipped_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("experiments/fusion_methods.yaml")
    own.parent.mkdir()
    own.write_text("question: mine\n", encoding="utf-8")
    assert study_path("fusion_methods") == own
    assert shipped(own) == own
    assert "alignment" in shipped_studies()
