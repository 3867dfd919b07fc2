"""A declaration keeps its history: what changed after the first cell stands in the report, with the values then and now."""

from __future__ import annotations

import json
from typing import Any

import pytest
from thin_study import Bench

from fila_lab.analysis import StudyFolder
from fila_lab.config import ConfigError, load_study
from fila_lab.config.declaration import changes, declaration

PAIRS = "[[concat, none], [addition, none]]"
CHANGES = [
    ("margin: 0.03", "margin: 0.05", "margin: 0.03 then, 0.05 now"),
    ("question: does it run?", "question: does it walk?", "question: does it run? then, does it walk? now"),
    ("margin: 0.03", "margin: 0.03\nmetric: exact/coarse", "metric: exact/reading then, exact/coarse now"),
    (PAIRS, "[[concat, none], [addition, concat]]", "families.fusion: [addition, none] then, not there now"),
    (PAIRS, "[[concat, none], [addition, concat]]", "families.fusion: not there then, [addition, concat] now"),
    (PAIRS, "[[concat, none]]", "families.fusion: [addition, none] then, not there now"),
    ("families: {fusion: ", "families: {more: {contrasts: [[addition, concat]]}, fusion: ", "families.more: not there then"),
    ("{fusion: {contrasts", "{fusion: {metric: exact/mean, contrasts", "families.fusion.metric: none then, exact/mean now"),
    ("small: {seeds: [0, 1]", "small: {seeds: [0, 1, 2]", "seeds: [0, 1] then, [0, 1, 2] now"),
]


def edit(bench: Bench, old: str, new: str) -> None:
    text = bench.file.read_text(encoding="utf-8")
    assert old in text
    bench.file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(("old", "new", "words"), CHANGES)
def test_what_changed_is_said_by_the_next_run_and_by_the_report(
    bench: Bench, caplog: pytest.LogCaptureFixture, old: str, new: str, words: str
) -> None:
    bench.run(costs=False)
    assert StudyFolder.open(bench.out).changed == ()
    edit(bench, old, new)
    judged = StudyFolder.open(bench.out).judged_by(load_study(bench.file))
    if words.startswith("seeds"):  # none of the new ones has run
        assert judged.unrun == ("budgets.small",)
    else:
        assert any(words in text for text in judged.changed)
    bench.run(costs=False)
    assert words in caplog.text
    folder = StudyFolder.open(bench.out)
    assert any(words in text for text in folder.changed)
    bench.run(costs=False)
    assert StudyFolder.open(bench.out).changed == folder.changed, "written once"


def test_a_declaration_is_free_until_the_first_cell(bench: Bench) -> None:
    bench.run(costs=False)
    for path in bench.out.glob("cells/*/result.json"):
        path.unlink()
    edit(bench, "margin: 0.03", "margin: 0.05")
    bench.run(costs=False)
    assert StudyFolder.open(bench.out).changed == ()
    assert json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))["declared"]["margin"] == 0.05


def test_a_folder_that_kept_none_is_taken_by_its_last_run(bench: Bench) -> None:
    bench.run(costs=False)
    plan: dict[str, Any] = json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    del plan["declared"]
    (bench.out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    edit(bench, "margin: 0.03", "margin: 0.05")
    bench.run(costs=False)
    assert StudyFolder.open(bench.out).changed == ("margin: 0.03 then, 0.05 now",)


@pytest.mark.parametrize("damage", ["", "[" * 100_000, '{"cells": [1]}', "declared: 5", "families: 5", "cells: {}"])
def test_a_damaged_plan_is_kept_and_said_for_it_alone_knew_the_declaration(
    bench: Bench, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    bench.run(costs=False)
    path = bench.out / "plan.json"
    plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if damage == "declared: 5":
        damage = json.dumps(plan | {"declared": 5})
    elif damage == "families: 5":
        damage = json.dumps(plan | {"declared": plan["declared"] | {"families": 5}})
    elif damage == "cells: {}":
        damage = json.dumps(plan | {"cells": [{}]})
    path.write_text(damage, encoding="utf-8")
    done = bench.store.results()
    edit(bench, "margin: 0.03", "margin: 0.05")
    bench.run(costs=False)
    assert "plan.invalid-1.json" in caplog.text
    assert "not known any more" in caplog.text
    assert (bench.out / "plan.invalid-1.json").read_text(encoding="utf-8") == damage
    assert bench.store.results() == done
    assert StudyFolder.open(bench.out).study.margin == 0.05


def test_what_cells_were_not_run_with_is_named(bench: Bench) -> None:
    bench.run(costs=False)
    edit(bench, "concat: {set: {fusion.name: concat}}", "concat: {set: {fusion.name: concat, fusion.hidden: 32}}")
    judged = StudyFolder.open(bench.out).judged_by(load_study(bench.file))
    assert (judged.changed, judged.unrun) == ((), ("arms.concat",))
    edit(bench, "name: thin", "name: thick")
    with pytest.raises(ConfigError, match="holds study 'thin', not 'thick'"):
        StudyFolder.open(bench.out).judged_by(load_study(bench.file))


def test_order_of_contrasts_is_no_change(bench: Bench) -> None:
    before = declaration(load_study(bench.file), "small")
    edit(bench, "[[concat, none], [addition, none]]", "[[addition, none], [concat, none]]")
    assert changes(before, declaration(load_study(bench.file), "small")) == ()
