"""The real cell under both engines: the same numbers to the last bit, from one set of caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.studies import ResultStore, run_study

STUDY = """
name: real
question: does the engine matter?
set:
  vit.weights: random
  convnext.weights: random
  language.weights: random
  data.train_pool: 48
  data.train_items: 40
  data.val_pool: 16
  data.val_items: 12
  data.test_triplets: 8
  train.steps: 4
  train.batch_size: 8
  train.log_every: 2
arms:
  none: {role: baseline, set: {fusion.name: none}}
  concat: {set: {fusion.name: concat}}
families: {fusion: {contrasts: [[concat, none]]}}
margin: 0.03
budgets:
  small: {seeds: [0]}
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_engines_agree_to_the_last_bit_and_the_second_arm_finds_its_features(tmp_path: Path, workers: int) -> None:
    """One worker is one more process that loads torch and Lightning, which is most of the time."""
    (tmp_path / "real.yaml").write_text(STUDY, encoding="utf-8")
    stores = {}
    for engine in ("inline", "process"):
        options = {"engine": engine, "workers": workers, "cache_dir": tmp_path / "cache", "tracking": False, "costs": False}
        out = run_study(tmp_path / "real.yaml", out=tmp_path / engine, **options)
        stores[engine] = ResultStore(out)
    inline, process = (store.results() for store in stores.values())
    assert len(inline) == 2
    for cell, result in inline.items():
        assert result.failure is None, result.failure
        assert result.metrics == process[cell].metrics
        assert result.validation == process[cell].validation
        assert result.curve == process[cell].curve
        assert stores["inline"].predictions(cell).equals(stores["process"].predictions(cell))
    assert all(result.timing["features"] < 1.0 for result in process.values())
