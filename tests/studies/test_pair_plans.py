"""Tower pairs in a plan: cells load the pair of their seed, ids know its bytes, caches follow, and the plan says how seeds fall."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fila_lab.cli.pairs import pair_lines
from fila_lab.config import ConfigError, StudyConfig, load_study, resolve_run
from fila_lab.config.weights import PACKAGE_WEIGHTS
from fila_lab.hub.configuration import computed_run
from fila_lab.studies.identity import cell_id, weights_hashes
from fila_lab.studies.plan import make_plan
from fila_lab.studies.prepare import distinct

STUDY = """
name: blocks
question: does the order hold for each pair?
set:
  tower_pairs:
{pairs}
  language.weights: package:mini_answers_0
arms:
  none: {{role: baseline, set: {{fusion.name: none}}}}
  concat: {{set: {{fusion.name: concat}}}}
families: {{fusion: {{contrasts: [[concat, none]]}}}}
margin: 0.03
budgets:
  small: {{seeds: {seeds}, set: {{train.steps: 7}}}}
"""


@pytest.fixture
def towers(tmp_path: Path) -> list[dict[str, str]]:
    """Three pairs of mini's size and different bytes."""
    from safetensors.torch import load_file, save_file

    pairs = []
    for number in range(3):
        pair = {}
        for tower in ("vit", "convnext"):
            path = tmp_path / f"{tower}_{number}.safetensors"
            content = load_file(PACKAGE_WEIGHTS / f"mini_{tower}_0.safetensors")
            first = min(content)
            content[first] = content[first] + number
            save_file(content, path)
            pair[tower] = str(path)
        pairs.append(pair)
    return pairs


def study(tmp_path: Path, pairs: list[dict[str, str]], seeds: list[int]) -> StudyConfig:
    path = tmp_path / "blocks.yaml"
    listed = "\n".join(f"    - {{vit: {pair['vit']}, convnext: {pair['convnext']}}}" for pair in pairs)
    path.write_text(STUDY.format(pairs=listed, seeds=seeds), encoding="utf-8")
    return load_study(path)


def test_cells_have_the_pair_of_their_seed_and_ids_its_bytes(tmp_path: Path, towers: list[dict[str, str]]) -> None:
    plan = make_plan(study(tmp_path, towers, [0, 1, 2, 3]))
    for cell in plan.cells:
        pair = towers[cell.seed % 3]
        assert (cell.config.vit.weights, cell.config.convnext.weights) == (pair["vit"], pair["convnext"])
        assert cell.id == cell_id(cell.config)
        # The id is of what is loaded: a run that names these weights itself is the same cell.
        plain = {"fusion.name": cell.config.fusion.name, "train.steps": 7, "seed": cell.seed}
        named = {"vit.weights": pair["vit"], "convnext.weights": pair["convnext"], "language.weights": "package:mini_answers_0"}
        alone = resolve_run("mini", named, plain)
        assert cell_id(alone) == cell.id
    assert len({tuple(weights_hashes(cell.config).items()) for cell in plan.cells}) == 3
    before = {cell.id for cell in plan.cells}
    shutil.copy(towers[0]["vit"], towers[1]["vit"])
    after = make_plan(study(tmp_path, towers, [0, 1, 2, 3]))
    changed = {cell.seed for cell in after.cells if cell.id not in before}
    assert changed == {1}  # the seeds of the pair whose file changed


def test_features_are_computed_once_a_pair(tmp_path: Path, towers: list[dict[str, str]]) -> None:
    plan = make_plan(study(tmp_path, towers, [0, 1, 2, 3, 4, 5]))
    seen = distinct(cell.config for cell in plan.cells if cell.arm == "concat")
    assert {config.convnext.weights for config in seen.values()} == {pair["convnext"] for pair in towers}
    assert len(seen) == 3


def test_a_plan_refuses_a_pair_whose_file_is_missing(tmp_path: Path, towers: list[dict[str, str]]) -> None:
    Path(towers[2]["convnext"]).unlink()
    with pytest.raises(ConfigError, match="convnext_2"):
        make_plan(study(tmp_path, towers, [0, 1, 2]))
    assert make_plan(study(tmp_path, towers, [0, 1])).cells  # no seed of it


def test_the_plan_says_how_seeds_fall_on_pairs(tmp_path: Path, towers: list[dict[str, str]]) -> None:
    even = "pairs     3 tower pairs: 0: seeds 0, 3; 1: seeds 1, 4; 2: seeds 2, 5"
    assert pair_lines(make_plan(study(tmp_path, towers, list(range(6))))) == [even]
    (line, note) = pair_lines(make_plan(study(tmp_path, towers, [0, 1, 3, 4])))
    assert line.endswith("2: no seed")
    assert "unequal: 2, 2, 0 seeds" in note
    shipped = load_study(Path(__file__).parents[2] / "experiments" / "fusion_methods.yaml")
    assert pair_lines(make_plan(shipped)) != []
    assert pair_lines(make_plan(shipped, overrides={f"{part}.weights": "random" for part in ("vit", "convnext", "language")})) == []


def test_a_saved_model_is_one_pairs(tmp_path: Path, towers: list[dict[str, str]]) -> None:
    run = make_plan(study(tmp_path, towers, [1])).cells[0].config
    assert "tower_pairs" not in computed_run(run)
