"""Training stages as a run declares them: what each comes to, what is refused, and that runs without them are what they were."""

from __future__ import annotations

from typing import Any

import pytest

from fila_lab.config import ConfigError, RunConfig, TrainConfig, config_hash, load_preset, resolve_run
from fila_lab.config.stage_runs import seen_by, stage_mark, stages_of, total_steps
from fila_lab.config.stages import PARTS, StageConfig, may_train, part_trains

ALIGN: dict[str, Any] = {"name": "align", "trains": ["projector", "fusion"], "steps": 30, "learning_rate": 1e-3}
INSTRUCT: dict[str, Any] = {"name": "instruct", "trains": ["projector", "fusion", "language"], "steps": 70, "learning_rate": 2e-5}


def staged(*stages: dict[str, Any], **overrides: Any) -> RunConfig:
    return resolve_run("mini", {"train.stages": list(stages)}, {key.replace("__", "."): value for key, value in overrides.items()})


def test_a_run_without_stages_is_what_it_was() -> None:
    """New fields stay out of dumps, and so out of ids, at their usual values; the run is its own only stage."""
    run = load_preset("mini")
    dumped = run.train.model_dump(mode="json")
    assert not {"stages", "accumulate", "schedule"} & dumped.keys()
    assert {"stages", "accumulate", "schedule"} <= run.train.model_dump(context={"whole": True}).keys()
    assert config_hash(TrainConfig()) == config_hash(TrainConfig(stages=None, accumulate=1, schedule="cosine"))
    (only,) = stages_of(run)
    assert only.run is run
    assert (only.name, only.number, only.first, dict(only.trains)) == ("", 0, 0, {})
    assert total_steps(run) == run.train.steps
    assert stage_mark(run, only) == ""


def test_each_stage_is_a_run_of_its_own() -> None:
    data = {"suite": "llava", "path": "captions.json"}
    first = ALIGN | {"data": data, "batch_size": 16, "accumulate": 2, "schedule": "constant", "warmup": 0.0}
    first |= {"template": "plain", "max_tokens": 200}
    second = INSTRUCT | {"learning_rate": {"projector": 1e-4, "fusion": 1e-4, "language": 1e-5}, "weight_decay": 0.0}
    run = staged(first, second, train__learning_rate=5e-4, data__validate={"suite": "seam"})
    align, instruct = stages_of(run)
    assert (align.first, instruct.first, total_steps(run)) == (0, 30, 100)
    assert align.trains == {"projector": 1e-3, "fusion": 1e-3}
    assert instruct.trains == {"projector": 1e-4, "fusion": 1e-4, "language": 1e-5}
    train = align.run.train
    assert (train.steps, train.batch_size, train.accumulate, train.schedule, train.warmup) == (30, 16, 2, "constant", 0.0)
    assert (align.run.language.max_tokens, instruct.run.language.max_tokens) == (200, None)
    assert (align.run.language.template, instruct.run.language.template) == ("plain", "bare")
    assert (align.run.data.train[0].path, instruct.run.data) == ("captions.json", run.data)
    assert (train.weight_decay, instruct.run.train.weight_decay) == (run.train.weight_decay, 0.0)
    assert (align.run.language.trainable, instruct.run.language.trainable) == (False, True)
    assert train.stages is None


def test_stages_say_which_towers_train_and_are_read_back() -> None:
    run = staged(ALIGN, INSTRUCT | {"trains": ["projector", "fusion", "vit"]})
    assert (run.vit.trainable, run.convnext.trainable, run.language.trainable) == (True, False, False)
    assert RunConfig.model_validate(run.model_dump(mode="json")) == run
    assert RunConfig.model_validate(run.model_dump(mode="json", context={"whole": True})) == run
    for part, said, words in (("vit", True, "no stage of train.stages trains it"), ("language", False, "train.stages trains it")):
        trains = ["projector", "fusion"] + ([] if said else [part])
        with pytest.raises(ConfigError, match=rf"{part}\.trainable = {str(said).lower()}, but {words}"):
            staged(ALIGN | {"trains": trains}, **{f"{part}__trainable": said})


def test_the_cache_of_a_frozen_tower_is_read_until_the_tower_trains() -> None:
    with_tower = {"trains": ["projector", "fusion", "convnext"]}
    run = staged(ALIGN, INSTRUCT | with_tower, ALIGN | {"name": "again"})
    assert [(stage.run.convnext.trainable, stage.run.runtime.feature_cache) for stage in stages_of(run)] == [
        (False, True),
        (True, True),
        (False, False),
    ]
    # A random tower that trains begins otherwise than the frozen one that caches know.
    random = staged(ALIGN, INSTRUCT | with_tower, convnext__weights="random")
    assert not stages_of(random)[0].run.runtime.feature_cache


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ("vit", ["vit"]),
        ("encoder.vit.trunk.*", ["vit"]),
        ("encoder.*", ["vit", "convnext", "fusion"]),
        ("separator.separator", ["projector"]),
        ("*.bias", list(PARTS)),
        ("language.model.layers.[01].*", ["language"]),
    ],
)
def test_patterns_may_name_the_parts_their_heads_lead_to(entry: str, parts: list[str]) -> None:
    assert [part for part in PARTS if may_train(entry, part)] == parts
    assert part_trains([StageConfig(name="a", trains=(entry,))], "vit") == ("vit" in parts)


REFUSED = [
    ([{"name": "a", "trains": ["projectr"]}], r"stages\.0\.trains\[0\] = 'projectr' is no part \(did you mean 'projector'\?\); choose vit"),
    ([{"name": "a", "trains": []}], r"stages\.0\.trains"),
    ([ALIGN, ALIGN], r"two are called 'align'"),
    ([ALIGN, ALIGN | {"name": "Align"}], r"two are called 'align', capitals or not"),  # one folder on many a disk
    ([ALIGN | {"name": "a/b"}], r"name = 'a/b' is no name of a stage"),
    ([ALIGN | {"epochs": 1.0}], r"steps = 30 beside epochs = 1.*give one of the two"),
    ([ALIGN | {"trains": ["fusion", "vit", "encoder.vit.trunk.conv1.*"]}], r"'encoder\.vit\.trunk\.conv1\.\*' names parameters that 'vit'"),
    ([ALIGN | {"trains": ["fusion", "fusion"]}], r"'fusion' names parameters that 'fusion' names too"),
    ([ALIGN | {"learning_rate": {"projector": 1e-3}}], r"learning_rate says nothing of 'fusion'"),
    ([ALIGN | {"learning_rate": {"projector": 1e-3, "fusion": 1e-3, "vit": 1e-6}}], r"'vit' does not train in this stage"),
    ([ALIGN | {"learning_rate": 0.0}], r"stages\.0\.learning_rate"),
    ([ALIGN | {"learnin_rate": 0.1}], r"unknown key 'train\.stages\.0\.learnin_rate' \(did you mean 'learning_rate'\?\)"),
    ([ALIGN | {"data": {"suite": "seam", "pth": "x"}}], r"unknown key 'train\.stages\.0\.data\.0\.pth' \(did you mean 'path'\?\)"),
    ([ALIGN | {"trains": ["projector"]}], r"none trains fusion, so fusion\.name = 'concat' would change nothing"),
    (
        [ALIGN | {"batch_size": 24000, "accumulate": 2}],
        r"stages\.0 \(align\): train\.batch_size = 24000 x train\.accumulate = 2 is",
    ),
    ([ALIGN | {"max_tokens": 4}], r"train\.stages\.0 \(align\): language\.max_tokens = 4 leaves no room"),
    ([ALIGN | {"template": "plane"}], r"train\.stages\.0 \(align\): language\.template = 'plane' is unknown \(did you mean 'plain'"),
    ([], r"train\.stages"),
]


@pytest.mark.parametrize(("stages", "words"), REFUSED)
def test_a_stage_that_cannot_work_is_refused_by_field(stages: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        staged(*stages)


def test_a_stage_that_trains_nothing_of_this_run_is_refused() -> None:
    for trains, fusion in ((["fusion"], "none"), (["convnext"], "none"), (["encoder.fusions.*"], "none")):
        with pytest.raises(ConfigError, match=r"train\.stages\.1\.trains = \[.*\]: the stage 'b' trains nothing"):
            staged(ALIGN, {"name": "b", "trains": trains}, fusion__name=fusion)
    assert staged(ALIGN, fusion__name="none").train.stages is not None  # a baseline among arms that share their stages


def test_a_loss_of_whole_batches_is_not_split() -> None:
    for layer in ({"train.accumulate": 2}, {"train.stages": [ALIGN | {"accumulate": 2}]}):
        with pytest.raises(ConfigError, match=r"accumulate = 2 splits a batch, of which train\.truth_weight = 0\.5 takes"):
            resolve_run("mini", {"train.truth_weight": 0.5} | layer)


@pytest.mark.parametrize(
    ("overrides", "shared"),
    [
        ({}, True),
        ({"train.stages": [ALIGN, INSTRUCT | {"learning_rate": 1e-5, "steps": 50, "data": {"suite": "llava", "path": "x"}}]}, True),
        ({"train.stages": [ALIGN, INSTRUCT, INSTRUCT | {"name": "more"}]}, True),
        ({"train.stages": [ALIGN, INSTRUCT | {"trains": ["projector", "fusion", "language", "vit", "convnext"]}]}, True),
        ({"data.evaluate": {"docvqa": {"path": "x"}}, "data.test_triplets": 7}, True),
        ({"train.steps": 9}, True),
        ({"fusion.name": "addition"}, False),
        ({"train.stages": [ALIGN | {"learning_rate": 2e-3}, INSTRUCT]}, False),
        ({"train.stages": [ALIGN | {"name": "begin"}, INSTRUCT]}, False),
        ({"seed": 1}, False),
        ({"data.val_items": 7}, False),
        ({"train.gradient_clip": 2.0}, False),
        ({"runtime.precision": "bf16"}, False),
        ({"language.template": "vicuna_v1"}, False),
    ],
)
def test_arms_share_a_stage_where_all_it_can_see_is_equal(overrides: dict[str, Any], shared: bool) -> None:
    one, other = staged(ALIGN, INSTRUCT), resolve_run("mini", {"train.stages": [ALIGN, INSTRUCT]}, overrides)
    assert (seen_by(one, 0) == seen_by(other, 0)) == shared
    assert (stage_mark(one, stages_of(one)[0]) == stage_mark(other, stages_of(other)[0])) == shared


def test_what_trains_later_is_seen_in_how_it_begins() -> None:
    """A random tower draws from the run's seed if it trains; a language model is held in float32 if it does, unless the run says how."""
    with_vit, without = ({"name": "more", "trains": ["projector", "fusion", part]} for part in ("vit", "projector"))
    without["trains"].pop()
    with_language = {"name": "more", "trains": ["language"]}
    for later, overrides, shared in (
        (with_vit, {"vit.weights": "random"}, False),
        (with_vit, {}, True),
        (with_language, {}, False),
        (with_language, {"language.dtype": "float32"}, True),
    ):
        one, other = (resolve_run("mini", {"train.stages": [ALIGN, stage]}, overrides) for stage in (without, later))
        assert (seen_by(one, 0) == seen_by(other, 0)) == shared
