"""A specialist: the generalist's draw, its own tasks alone, and everybody's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_run import tiny

from fila_lab.training import FilaModule, run_cell
from fila_lab.training.data import TRAIN, VAL, CellData, open_data

SHARES = {"reading": 0.5, "coarse": 0.5}


def test_a_specialist_trains_on_its_part_of_the_generalists_items_and_is_tested_on_all(cache_dir: Path, tmp_path: Path) -> None:
    rows = {}
    for tasks in (None, ("reading",), ("coarse",)):
        config = tiny(fusion__name="none", data__seam__tasks=SHARES, data__train_tasks=tasks)
        pools = open_data(config, cache_dir, ("train", "val", "test"))
        tokenizer = FilaModule.from_config(config).model.tokenizer
        data = CellData(config, pools, dict.fromkeys(pools), tokenizer)
        rows[tasks] = data.rows[TRAIN]
        seen = set(pools[TRAIN].meta["task"].iloc[data.rows[TRAIN]])
        assert seen == (set(tasks) if tasks else set(SHARES))
        assert len(data.rows[VAL]) == config.data.val_items
    assert sorted(np.concatenate([rows["reading",], rows["coarse",]])) == sorted(rows[None])
    assert [row for row in rows[None] if row in set(rows["coarse",])] == list(rows["coarse",]), "in the generalist's order"

    short = {"train__steps": 1, "train__validate_every": 1}
    configs = [tiny(fusion__name="none", data__seam__tasks=SHARES, data__train_tasks=own, **short) for own in (None, ["coarse"])]
    outcomes = [run_cell(config, workdir=tmp_path / str(number), cache_dir=cache_dir) for number, config in enumerate(configs)]
    assert [outcome.result["failure"] for outcome in outcomes] == [None, None]
    everybody, specialist = (outcome.predictions for outcome in outcomes)
    assert everybody is not None
    assert specialist is not None
    assert specialist[["item_id", "place", "answer"]].equals(everybody[["item_id", "place", "answer"]])
    assert set(outcomes[1].provenance["data_hash"].items()) == set(outcomes[0].provenance["data_hash"].items())
    assert {"exact/reading", "exact/coarse", "question_only/reading"} <= set(outcomes[1].result["metrics"])
