"""First training stages that cells of a study share: who shares them, which are trained beforehand, and that results are the cells' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from thin_study import Bench, quality

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.stage_runs import ENDS, stages_of
from fila_lab.studies.identity import cell_id, data_hash, stage_ids, suites_of
from fila_lab.studies.rows import cell_flops, stage_flops
from fila_lab.studies.savings import shared_stages
from fila_lab.studies.shared_stages import SharedStages

ALIGN: dict[str, Any] = {"name": "align", "trains": ["projector", "fusion"], "steps": 3}
MIDDLE: dict[str, Any] = {"name": "middle", "trains": ["projector", "fusion"], "steps": 2}
LAST: dict[str, Any] = {"name": "last", "trains": ["projector", "fusion", "language"], "steps": 2}


def staged(*stages: dict[str, Any], **overrides: Any) -> RunConfig:
    layer = {key.replace("__", "."): value for key, value in overrides.items()}
    return resolve_run("mini", {"train.stages": list(stages)}, layer)


def test_ids_follow_what_a_stage_can_see(tmp_path: Path) -> None:
    run = staged(ALIGN, MIDDLE, LAST)
    (first, second) = stage_ids(run, [0], "code")[0]
    assert first != second
    assert stage_ids(run, [0, 1], "code")[1] != (first, second)
    assert stage_ids(run, [0], "other code")[0][0] != first
    later = staged(ALIGN, MIDDLE | {"steps": 4}, LAST)
    assert stage_ids(later, [0], "code")[0] == (first, stage_ids(later, [0], "code")[0][1])
    assert stage_ids(later, [0], "code")[0][1] != second
    assert stage_ids(staged(LAST), [0, 1], "code") == {0: (), 1: ()}
    assert stage_ids(resolve_run("mini"), [3], "code") == {3: ()}


def test_a_cell_s_id_follows_its_stages_and_the_content_of_their_files_not_the_paths(tmp_path: Path) -> None:
    rows = '[{"id": "a", "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}]'
    ids, hashes = [], []
    for name, content in (("one", rows), ("two", rows), ("three", rows.replace('"A"', '"B"'))):
        path = tmp_path / name / "rows.json"
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
        run = staged(ALIGN | {"data": {"suite": "llava", "path": str(path)}}, LAST)
        ids.append(cell_id(run))
        hashes.append(data_hash(run))
        assert suites_of(run) == {"seam", "llava"}
    with pytest.raises(ConfigError, match=r"train\.stages\.0 \(align\): data\.train: .*absent"):
        cell_id(staged(ALIGN | {"data": {"suite": "llava", "path": str(tmp_path / "absent.json")}}, LAST))
    assert ids[0] == ids[1] != ids[2]
    assert hashes[0] == hashes[1] != hashes[2] != data_hash(staged(ALIGN, LAST))
    assert data_hash(staged(ALIGN, LAST)) == data_hash(resolve_run("mini"))
    assert cell_id(staged(ALIGN, LAST)) != cell_id(staged(ALIGN | {"learning_rate": 1e-4}, LAST))


def test_what_several_cells_share_is_trained_in_rounds_and_once(tmp_path: Path) -> None:
    shared = SharedStages(tmp_path / "cache", tmp_path / "out", "code")
    one = staged(ALIGN, MIDDLE, LAST)
    cells = [one, staged(ALIGN, MIDDLE, LAST | {"steps": 5}), staged(ALIGN, LAST), staged(ALIGN, LAST, fusion__name="addition")]
    rounds = list(shared.rounds([*cells, resolve_run("mini")]))
    assert [[job.id for job in jobs] for jobs in rounds] == [[shared.ids(one)[0]], [shared.ids(one)[1]]]
    first, second = rounds[0][0], rounds[1][0]
    assert (first.options["number"], second.options["number"]) == (0, 1)
    assert second.options["ends"] == (first.options["final"],)
    assert shared.ends(one) == (first.options["final"], second.options["final"])
    assert first.options["final"].parent == tmp_path / "cache" / ENDS
    first.options["final"].mkdir(parents=True)
    assert [[job.id for job in jobs] for jobs in shared.rounds(cells)] == [[second.id]]
    second.options["final"].mkdir()
    assert list(shared.rounds(cells)) == []
    first.options["final"].rmdir()  # dropped for room: cells that go further have no need of it, and the third is alone with it
    assert list(shared.rounds(cells)) == []
    assert list(SharedStages(tmp_path / "cache", tmp_path, "code", None).rounds(cells)) == []


STUDY = """
name: staged
question: is the first stage trained once?
set:
  vit: {weights: random, width: 32}
  convnext: {weights: random, dims: [8, 8, 16, 16]}
  language: {weights: random, width: 32, intermediate: 64}
  fusion.name: addition
  data: {train_pool: 48, train_items: 40, val_pool: 16, val_items: 12, test_triplets: 8}
  train.batch_size: 8
  train.log_every: 1
arms:
  short: {role: baseline, set: {train.stages: [ALIGN, {name: last, trains: [projector, fusion, language], steps: 1}]}}
  long: {set: {train.stages: [ALIGN, {name: last, trains: [projector, fusion, language], steps: 3}]}}
families: {length: {contrasts: [[long, short]]}}
margin: 0.03
budgets: {small: {seeds: [0]}}
""".replace("ALIGN", "{name: align, trains: [projector, fusion], steps: 2}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "process"])
def test_a_study_trains_a_shared_stage_once_to_the_numbers_its_cells_have_alone(engine: str, bench: Bench, tmp_path: Path) -> None:
    bench.file.write_text(STUDY, encoding="utf-8")
    real = {"cell_function": "fila_lab.training:run_cell", "costs": False, "cache_dir": tmp_path / "cache", "engine": engine}
    bench.run(**real)
    (kept,) = [path for path in (tmp_path / "cache" / ENDS).iterdir() if path.is_dir()]
    together = quality(bench.store)
    assert {values[3] for values in together.values()} == {"done"}
    stages = {point.stage for values in together.values() for point in values[2]}
    assert stages == {"align", "last"}
    before = kept.stat().st_mtime_ns
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in bench.store.root.glob("cells/*/manifest.json")]
    assert [manifest["shared_stages"] for manifest in manifests] == [{"id": kept.name, "stages": ["align"]}] * 2
    alone = Bench(tmp_path / "alone") if (tmp_path / "alone").mkdir() is None else bench
    alone.file.write_text(STUDY, encoding="utf-8")
    alone.run(**real | {"stage_function": None, "cache_dir": tmp_path / "other"})
    assert not (tmp_path / "other" / ENDS).exists()
    assert quality(alone.store) == together
    assert kept.stat().st_mtime_ns == before


def test_a_plan_counts_what_is_shared_once() -> None:
    cells = [staged(ALIGN, LAST, seed=seed) for seed in (0, 1)] + [staged(ALIGN, LAST | {"steps": 9}, seed=seed) for seed in (0, 1)]
    (shared,) = shared_stages([*cells, resolve_run("mini"), staged(ALIGN, LAST, fusion__name="none")])
    assert (shared.name, shared.cells, shared.times) == ("align", 4, 2)
    part = stage_flops(cells[2], stages_of(cells[2])[0]) / cell_flops(cells[2])
    assert 0 < part < 1
    assert shared.saved == pytest.approx(2 * part)
    assert shared_stages(cells[:2]) == ()
    assert cell_flops(cells[0], test=False) == pytest.approx(sum(stage_flops(cells[0], stage) for stage in stages_of(cells[0])))
