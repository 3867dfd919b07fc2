"""The doctor finds what is broken, each with a remedy, and says ok of what works."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fila_lab.cli import main
from fila_lab.config import MachineError
from fila_lab.config.published_weights import Holding
from fila_lab.config.weights import PACKAGE_WEIGHTS
from fila_lab.studies import doctor
from fila_lab.studies.doctor import Finding, hardware, libraries, places, weights
from fila_lab.studies.doctor.finding import looked

examine = __import__("fila_lab.studies.doctor.examine", fromlist=["examine"])


def states(found: list[Finding]) -> dict[str, str]:
    return {finding.name: finding.state for finding in found}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that are said to be installed instead of the real ones; None: not at all."""
    said: dict[str, str | None] = {}
    right = importlib.metadata.version

    def version(name: str) -> str:
        if name in said and said[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return said.get(name) or right(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    declared = ["torch>=2.6", "lightning>=2.5,!=2.6.2,!=2.6.3", "timm>=1.0", "pydantic>=2.8", 'ray; extra == "ray"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    return said


def test_versions_that_hold_are_named_and_others_have_a_remedy(installed: dict[str, str | None]) -> None:
    assert states(libraries._versions()) == {"torch": "ok", "lightning": "ok", "timm": "ok"}
    installed |= {"timm": "0.9", "pydantic": None}
    found = {finding.name: finding for finding in libraries._versions()}
    assert (found["timm"].state, found["timm"].remedy) == ("fail", "pip install 'timm>=1.0'")
    assert "not installed" in found["pydantic"].told


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_releases_of_lightning_are_called_so(installed: dict[str, str | None], version: str) -> None:
    installed["lightning"] = version
    (found,) = [finding for finding in libraries._versions() if finding.name == "lightning"]
    assert found.state == "fail"
    assert "malicious" in found.told
    assert "credential" in found.remedy


def test_an_exception_of_a_check_is_a_finding() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("operator torchvision::nms does not exist")

    def told() -> list[Finding]:
        raise MachineError("no locks; mount it with locks")

    assert looked("vision", broken, "a pair")[0] == Finding(
        "vision", "fail", "RuntimeError: operator torchvision::nms does not exist", "a pair"
    )
    assert looked("locks", told, "unused") == [Finding("locks", "fail", "no locks; mount it with locks")]


def test_places_are_written_and_locked_and_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "far" / "cache"))
    assert states(places.places())["results"] == "ok"
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", "1000000")
    assert states(places.places())["cache's limit"] == "warn"
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", "much")
    assert states(places.places())["cache's limit"] == "fail"
    monkeypatch.setattr(places, "try_lock", lambda _: False)
    assert states(places.places())["results"] == "fail"


@pytest.mark.parametrize("below", ["", "deeper/still"])
@pytest.mark.parametrize("link", [False, True])
def test_a_file_or_a_dead_link_in_a_folders_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, link: bool) -> None:
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "taken"
    taken.symlink_to(tmp_path / "gone") if link else taken.touch()
    monkeypatch.setenv("FILA_LAB_CACHE", str(taken / below))
    (found,) = [finding for finding in places.places() if finding.name == "cache"]
    assert (found.state, f"{taken} is no folder" in found.told) == ("fail", True)


def test_a_full_disk_is_found(tmp_path: Path, disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(disk("1m"))
    monkeypatch.delenv("FILA_LAB_CACHE", raising=False)
    found = states(places.places())
    assert (found["results"], found["cache"]) == ("fail", "fail")


def test_a_spoilt_weights_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mini_vit_0.json", "mini_vit_0.safetensors"):
        shutil.copyfile(PACKAGE_WEIGHTS / name, tmp_path / name)
    monkeypatch.setattr(weights, "PACKAGE_WEIGHTS", tmp_path)
    assert weights._packaged()[0].state == "ok"
    with (tmp_path / "mini_vit_0.safetensors").open("ab") as file:
        file.write(b"x")
    (found,) = weights._packaged()
    assert (found.state, found.told) == ("fail", "mini_vit_0 missing, or not as published")


def test_weights_on_the_hub_are_looked_for_and_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights._wanted(Holding("language", "owner/there", "here"), ["base"]).state == "ok"
    missing = weights._wanted(Holding("vit", "hf:owner/model", "missing", remedy="hf download owner/model"), ["base", "paper"])
    assert (missing.state, missing.told) == ("warn", "not here; preset base and paper needs it")
    assert "hf download owner/model" in missing.remedy
    monkeypatch.setattr(weights, "preset_names", lambda: ("base", "mini"))
    monkeypatch.setattr(weights, "holdings", lambda config: [Holding("language", "owner/there", "here")] if config.preset == "base" else [])
    assert [finding.name for finding in weights.weights()] == ["package weights", "owner/there"]


def test_threads_beyond_the_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(hardware.cores() + 1))
    assert hardware._cores()[0].state == "warn"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert hardware._cores()[0].state == "ok"


def test_a_part_that_crashes_is_a_finding_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(stdout: str, stderr: str, code: int) -> Any:
        return lambda *_, **__: subprocess.CompletedProcess([], code, stdout, stderr)

    monkeypatch.setattr(examine.subprocess, "run", told('noise\n[{"name": "x", "state": "ok", "told": "y", "remedy": ""}]\n', "", 0))
    assert examine._elsewhere("machine") == [Finding("x", "ok", "y")]
    monkeypatch.setattr(examine.subprocess, "run", told("", "Fatal Python error: Segmentation fault", -11))
    (found,) = examine._elsewhere("machine")
    assert (found.name, found.state) == ("machine", "fail")
    assert "code -11: Fatal Python error" in found.told


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("fail", 3)])
def test_the_verbs_exit_codes(state: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("disk", state, "told", "mend")])
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            main(["doctor", *more])
        assert int(stop.value.code or 0) == code
        out = capsys.readouterr().out
    assert json.loads(out) == [{"name": "disk", "state": state, "told": "told", "remedy": "mend"}]


@pytest.mark.slow
def test_this_machine_is_well() -> None:
    found = doctor.examine()
    assert not [finding for finding in found if finding.state == "fail"]
    assert {"torch with torchvision", "package weights", "tracking", "sweep storage", "results", "GPU"} <= set(states(found))
    assert os.environ.get("HF_HUB_OFFLINE") is None, "only the children are kept from the network"
