"""Searches: equal for all arms, replayed from the folder, frozen before the main cells."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pandas as pd
import pytest
import yaml
from thin_study import Bench, quality

from fila_lab.config import FilaError
from fila_lab.config.space import parse_space
from fila_lab.config.space_points import grid_points, middle
from fila_lab.studies import study_status
from fila_lab.studies.searches.search import at_edge

PAIR = {"train.learning_rate": [1e-4, 1e-2]}
SPACE = parse_space(PAIR, pairs_are_ranges=True)


def trials(bench: Bench) -> pd.DataFrame:
    return pd.read_csv(bench.out / "tuning" / "trials.csv", float_precision="round_trip")


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_every_arm_gets_the_same_search(bench: Bench, engine: str, log: Callable[[], list[str]]) -> None:
    bench.run(budget="full", engine=engine, workers=2)
    table = trials(bench)
    assert table.groupby("arm").size().to_dict() == {"none": 4, "concat": 4, "addition": 4}
    rates = table.pivot(index="trial", columns="arm", values="train.learning_rate")
    assert rates.loc[0].tolist() == pytest.approx([1e-3] * 3), "the first trial is the geometric middle"
    assert rates.loc[1].nunique() == 1, "seed and history are the same"
    assert rates.stack().between(1e-4, 1e-2).all()
    assert [line.split()[3] for line in log()].count("False") == 12, "tuning never reads the test pool"
    winners = yaml.safe_load((bench.out / "tuning" / "winners.yaml").read_text(encoding="utf-8"))
    best = table.loc[table.groupby("arm")["value"].idxmax()].set_index("arm")["train.learning_rate"]
    assert {arm: values["train.learning_rate"] for arm, values in winners["winners"].items()} == best.to_dict()
    for cell_id in bench.store.done_ids() - set(table["cell"]):
        config = bench.store.get(cell_id).config
        assert config["train"]["learning_rate"] == best[config["fusion"]["name"]]
    assert {(row.phase, row.arm): row.done for row in study_status(bench.out).rows} == {
        **{("tuning", arm): 4 for arm in best.index},
        **{("main", arm): 2 for arm in best.index},
    }


def test_a_search_resumes_from_the_folder(bench: Bench, log: Callable[[], list[str]]) -> None:
    bench.run(budget="full")
    table, results = trials(bench), quality(bench.store)
    lost = table[((table.arm == "concat") & (table.trial >= 2)) | ((table.arm == "none") & (table.trial == 3))]
    for cell_id in lost.cell:
        shutil.rmtree(bench.store.folder(cell_id))
    shutil.rmtree(bench.out / "tuning")
    before = len(log())
    bench.run(budget="full", engine="process", workers=2)
    assert len(log()) - before == 3
    pd.testing.assert_frame_equal(trials(bench), table)
    assert quality(bench.store) == results


def test_an_arm_without_a_successful_trial_is_not_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    bench.run(budget="full")
    assert "no trial of arm 'concat' succeeded" in caplog.text
    assert trials(bench).query("arm == 'concat'")["status"].tolist() == ["failed"] * 4
    assert sum(row.done for row in study_status(bench.out).rows if row.phase == "main") == 4


def test_shards_need_frozen_winners(bench: Bench) -> None:
    with pytest.raises(FilaError, match=r"--shard 0/2: .*tunes first"):
        bench.run(budget="full", shard="0/2")
    bench.run(budget="full")
    results = quality(bench.store)
    bench.run(budget="full", shard="0/2")
    assert quality(bench.store) == results
    assert len(study_status(bench.out).rows) == 6


def test_a_winner_at_the_edge_is_flagged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert at_edge({"train.learning_rate": 1.5e-4}, SPACE) == ("train.learning_rate",)
    assert at_edge({"train.learning_rate": 9e-3}, SPACE) == ("train.learning_rate",)
    assert at_edge(middle(SPACE), SPACE) == ()
    bench.file.write_text(bench.file.read_text(encoding="utf-8").replace("1.0e-2]", "1.0e-3]"), encoding="utf-8")
    bench.run(budget="full", overrides={"data.seam.codes_per_page": 3})
    flagged = yaml.safe_load((bench.out / "tuning" / "winners.yaml").read_text(encoding="utf-8"))["at_edge"]
    winners = trials(bench).query("winner")
    narrow = parse_space({"train.learning_rate": [1e-4, 1e-3]}, pairs_are_ranges=True)
    assert flagged == {row["arm"]: ["train.learning_rate"] for _, row in winners.iterrows() if at_edge(dict(row), narrow)}
    assert all(arm in caplog.text for arm in flagged)


def test_a_grid_runs_from_the_middle_outwards() -> None:
    points = [point["train.learning_rate"] for point in grid_points(SPACE, 5)]
    assert points[0] == pytest.approx(1e-3)
    assert sorted(points) == pytest.approx([1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2])
    two = grid_points(parse_space({**PAIR, "train.weight_decay": [1e-3, 1e-1]}, pairs_are_ranges=True), 9)
    assert len({tuple(point.values()) for point in two}) == 9
    assert two[0] == pytest.approx({"train.learning_rate": 1e-3, "train.weight_decay": 1e-2})


def test_the_grid_sampler_tells_the_grid(bench: Bench) -> None:
    bench.file.write_text(bench.file.read_text(encoding="utf-8").replace("trials: 4}", "trials: 3, sampler: grid}"), encoding="utf-8")
    bench.run(budget="full")
    assert sorted(trials(bench).query("arm == 'none'")["train.learning_rate"]) == pytest.approx([1e-4, 1e-3, 1e-2])
