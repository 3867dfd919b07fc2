"""What is published can be reported on, and nothing else is copied."""

from __future__ import annotations

from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.analysis import load_study_frame
from fila_lab.config import FilaError
from fila_lab.studies.publish import publish


def test_a_published_folder_reads_like_the_run_and_holds_no_checkpoint(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    cell = next(iter(bench.store.done_ids()))
    (bench.store.folder(cell) / "model.safetensors").write_bytes(b"large")
    (bench.out / "mlflow.db").write_bytes(b"large")
    target = tmp_path / "results" / "thin"
    target.mkdir(parents=True)
    (target / "stale.json").write_text("{}")
    assert publish(bench.out, target) == sum(path.is_file() for path in target.rglob("*"))
    assert load_study_frame(target).equals(load_study_frame(bench.out))
    assert not list(target.rglob("*.safetensors"))
    assert not (target / "mlflow.db").exists()
    assert not (target / "stale.json").exists()


def test_publishing_refuses_what_is_no_result_folder_and_itself(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"plan\.json"):
        publish(tmp_path, tmp_path / "elsewhere")
    bench.run()
    with pytest.raises(FilaError, match="choose another"):
        publish(bench.out, bench.out / "inside")
