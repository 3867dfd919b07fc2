"""A study over two tower pairs, from plan to report with real cells: what each loads, and what is said of it; text of two heights."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.report import write_report
from fila_lab.config import parse_set, resolve_run
from fila_lab.config.weights import PACKAGE_WEIGHTS
from fila_lab.modeling.towers import build_convnext, build_vit
from fila_lab.modeling.weights import weights_sha256
from fila_lab.studies import ResultStore, run_study

STUDY = """
name: blocks
question: does it run over pairs?
set:
  tower_pairs:
    - {{vit: "package:mini_vit_0", convnext: "package:mini_convnext_0", language: "package:mini_answers_0"}}
    - {{vit: {vit}, convnext: {convnext}, language: "package:mini_answers_0"}}
  data.seam.below_height: [4.4, 6.0]
  data.seam.below_share: 0.5
arms:
  none: {{role: baseline, set: {{fusion.name: none}}}}
  capacity: {{role: capacity, set: {{fusion.name: concat, fusion.control: blank}}}}
  concat: {{set: {{fusion.name: concat}}}}
families: {{methods: {{contrasts: [[concat, none], [concat, capacity]], by: [height_class]}}}}
margin: 0.03
budgets: {{tiny: {{seeds: [0, 1, 2, 3]}}}}
"""
SETS = (
    *("data.train_pool=160", "data.train_items=120", "data.val_pool=60", "data.val_items=40", "data.test_triplets=60"),
    *("train.steps=4", "train.batch_size=16", "train.log_every=2", "train.validate_every=2"),
)


@pytest.mark.slow
def test_cells_load_the_pair_of_their_seed(tmp_path: Path) -> None:
    other = {}
    for tower in ("vit", "convnext"):
        content = {name: value + 0.01 for name, value in load_file(PACKAGE_WEIGHTS / f"mini_{tower}_0.safetensors").items()}
        other[tower] = str(tmp_path / f"{tower}.safetensors")
        save_file(content, other[tower])
    file = tmp_path / "blocks.yaml"
    file.write_text(STUDY.format(**other), encoding="utf-8")
    out, cache = tmp_path / "out", tmp_path / "cache"
    run_study(file, budget="tiny", overrides=parse_set(SETS), out=out, cache_dir=cache, engine="inline", tracking=False, costs=False)

    store = ResultStore(out)
    results = store.results()
    assert {result.status for result in results.values()} == {"done"}
    loaded = [_loaded({}), _loaded({f"{tower}.weights": path for tower, path in other.items()})]
    assert loaded[0] != loaded[1]
    for cell, result in results.items():
        weights, fusion = store.manifest(cell)["weights"], result.config["fusion"]
        parts = {"vit", "convnext"} if fusion["name"] != "none" and fusion["control"] is None else {"vit"}
        assert {part: weights.get(part) for part in ("vit", "convnext") if part in weights} == {
            part: loaded[result.config["seed"] % 2][part] for part in sorted(parts)
        }
    kept = [path for path in (cache / "features").iterdir() if path.is_dir()]
    assert len(kept) == 2 * 3  # pairs x train, validation and test pools: none for `capacity`

    findings = Findings.of(out)
    assert not [check.name for check in findings.checks if check.passed is False]
    assert findings.measured_on == "mini, 2 tower pairs"
    assert set(findings.subgroups.levels["level"]) == {"legible", "below"}
    assert len(findings.pairs.levels) == 2 * 2
    page = write_report(out, to=tmp_path / "report").read_text(encoding="utf-8")
    assert "Pair by pair" in page
    assert "second baseline" in page


def _loaded(weights: dict[str, str]) -> dict[str, str]:
    """Fingerprints of mini's towers from these weights."""
    config = resolve_run("mini", weights)
    return {"vit": weights_sha256(build_vit(config)), "convnext": weights_sha256(build_convnext(config))}
