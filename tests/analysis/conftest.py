"""Study folders with simulated results, and what tests that only read share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import write_study

from fila_lab.analysis import StudyFolder, report
from fila_lab.analysis.findings import Findings

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    """What is committed is read and judged once for all tests that name it alike: none writes there."""
    of, kept = Findings.of, dict[Path | str, Findings]()

    def shared(out: Path | str | StudyFolder | Findings) -> Findings:
        if isinstance(out, StudyFolder | Findings) or Path(out).resolve().parent != RESULTS:
            return of(out)
        if out not in kept:
            kept[out] = of(out)
        return kept[out]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Findings, "of", staticmethod(shared))
        yield


@pytest.fixture(scope="session")
def full_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six arms, eight seeds, tuning, gallery, one failed cell. Read only: tests that write to it copy it first."""
    return write_study(tmp_path_factory.mktemp("full"), gallery=True, failed={("addition", 5): "not_finite"})


@pytest.fixture(scope="session")
def full_findings(full_study: Path) -> Findings:
    """What follows from it, computed once."""
    return Findings.of(full_study)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, three seeds, no tuning, no gallery."""
    return write_study(
        tmp_path_factory.mktemp("small"), arms=("none", "concat"), seeds=(0, 1, 2), triplets=30, tuning=False, budget="small"
    )


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are written without figures, which take most of their time: for tests of what else stands in them."""
    monkeypatch.setattr(report, "draw_figures", lambda found, target: [])
