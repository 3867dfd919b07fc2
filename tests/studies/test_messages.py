"""What a running cell says on its way to the driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fila_lab import RunConfig, resolve_run
from fila_lab.studies.engines.base import Job
from fila_lab.studies.engines.messages import PROGRESS, run_told


def talkative(config: RunConfig, *, workdir: Path, cache_dir: Path, progress: Callable[[str, int, int], None]) -> Any:
    for step in range(1, 501):
        progress("listing", step, 500)
    raise ValueError("enough")


def test_progress_is_thinned_out_but_for_the_end_of_a_phase(tmp_path: Path) -> None:
    said: list[tuple[Any, ...]] = []
    job = Job("cell", resolve_run("mini", {}), tmp_path / "cell", tmp_path, function=f"{__name__}:talkative")
    run_told(job, lambda *message: said.append(message))
    progress = [content for kind, *content in said if kind == PROGRESS]
    assert progress[0] == ["listing", 1, 500]
    assert progress[-1] == ["listing", 500, 500]
    assert len(progress) < 100
