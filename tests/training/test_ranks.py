"""Two devices are two processes that train one model: each takes its share of every batch."""

from __future__ import annotations

import os
from pathlib import Path

from tiny_run import tiny

from fila_lab.training import run_cell


def test_a_cell_trains_on_two_cpu_processes_and_leaves_the_environment_as_it_was(cache_dir: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    config = tiny(fusion__name="addition", data__test_triplets=2, runtime__devices=2)
    two = run_cell(config, workdir=tmp_path / "two", cache_dir=cache_dir)
    one = run_cell(tiny(fusion__name="addition", data__test_triplets=2), workdir=tmp_path / "one", cache_dir=cache_dir)
    assert two.result["failure"] is None
    assert two.predictions is not None
    assert len(two.predictions) == 6
    shared, alone = two.result["curve"], one.result["curve"]
    assert [point["step"] for point in shared] == [2, 4, 6]
    assert all(abs(a["loss"] - b["loss"]) < 1 for a, b in zip(shared, alone, strict=True))
    assert dict(os.environ) == before
