"""A wheel is the whole laboratory: installed outside the repository it has its studies, presets, weights, types and verbs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fila_lab.version import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without the network from a copy of what git would commit, so that nothing built here before gets in."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "out"))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "notebooks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(source))
    (found,) = out.glob("*.whl")
    return found


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def test_it_carries_what_the_package_needs_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    studies = {f"fila_lab/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "experiments").glob("*.yaml")}
    assert studies <= inside
    needed = ("py.typed", "__init__.pyi", "analysis/__init__.pyi", "config/presets/mini.yaml", "weights/mini_vit_0.safetensors")
    needed += ("analysis/templates/report.html.j2", "experiments/recipes/llava15.yaml", "experiments/real/study.yaml")
    assert {f"fila_lab/{name}" for name in needed} <= inside
    assert {name.split("/")[0] for name in inside} == {"fila_lab", f"fila_lab-{__version__}.dist-info"}
    assert not [name for name in inside if "/results/" in name or name.endswith(".pyc")]
    assert wheel.stat().st_size < 20e6


def test_it_works_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are this environment's; the package is the wheel's, which each answer says by its path."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def told(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert told("-c", "import fila_lab; print(fila_lab.__file__)").startswith(str(site))
    assert told("-m", "fila_lab", "--version").split() == ["fila-lab", __version__]
    assert "fusion_methods.yaml" in told("-m", "fila_lab", "--help")
    for study in ("fusion_methods", "experiments/fusion_methods.yaml"):
        assert "12 to do" in told("-m", "fila_lab", "plan", study)
    assert "instruct" in told("-m", "fila_lab", "presets", "show", "experiments/recipes/llava15.yaml")
    assert not list(elsewhere.iterdir())
