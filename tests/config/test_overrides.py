"""`--set`: YAML values, their types, their precedence; and the hash of what results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fila_lab.config import ConfigError, config_hash, parse_set, resolve_run


def test_values_are_yaml_and_take_the_type_of_their_field() -> None:
    config = resolve_run(
        "mini",
        parse_set(
            [
                "train.learning_rate=1e-3",  # YAML 1.1 reads this as text; the field makes it a number
                "train.steps=12",
                "geometry.canvases=[[42, 42]]",
                "fusion.depth=[[4, 5]]",
                "fusion.gate=false",
                "geometry.whole_image=96",
                "data.seam.tasks={reading: 1.0}",
            ]
        ),
    )
    assert config.train.learning_rate == 0.001
    assert (config.train.steps, config.geometry.canvases, config.fusion.depth) == (12, ((42, 42),), ((4, 5),))
    assert config.fusion.gate is False
    assert config.geometry.whole_image == 96
    assert config.data.seam.tasks == {"reading": 1.0}
    assert resolve_run("mini", {"geometry.whole_image": 192}, parse_set(["geometry.whole_image=null"])).geometry.whole_image is None


def test_later_layers_win_and_nested_is_the_same_as_dotted() -> None:
    dotted = resolve_run("mini", {"train.steps": 5, "train.warmup": 0.2}, {"train.steps": 6})
    nested = resolve_run("mini", {"train": {"steps": 5, "warmup": 0.2}}, {"train": {"steps": 6}})
    assert dotted == nested
    assert (dotted.train.steps, dotted.train.warmup) == (6, 0.2)


def test_a_key_of_a_plain_mapping_keeps_the_others() -> None:
    config = resolve_run("mini", parse_set(["data.seam.tasks.reading=0.06", "data.seam.tasks.coarse=0.2"]))
    assert config.data.seam.tasks == resolve_run("mini").data.seam.tasks | {"reading": 0.06, "coarse": 0.2}


def test_a_key_deep_in_a_plain_mapping_keeps_the_others() -> None:
    mine = {"suite": "llava", "path": "mine.json", "options": {"task": "mine"}}
    files = {"data.train": mine, "data.evaluate": {"docvqa": {"path": "here"}}}
    said = parse_set(["data.train.options.validate_share=0.1", "data.evaluate.docvqa.path=there", "data.evaluate.docvqa.options.ending=''"])
    data = resolve_run("mini", files, said).data
    assert data.train[0].options == {"task": "mine", "validate_share": 0.1}
    assert (data.evaluate["docvqa"].path, data.evaluate["docvqa"].options) == ("there", {"ending": ""})
    with pytest.raises(ConfigError, match=r"data\.train\.path has no keys below it"):
        resolve_run("mini", files, {"data.train.path.x": 1})


@pytest.mark.parametrize("text", ["train.steps", "=3", "", "train.steps=[1", "train.steps={a: }}"])
def test_what_is_not_an_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_set([text])


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=5))
def test_hash_ignores_the_order_of_keys(values: dict[str, object]) -> None:
    backwards = dict(reversed(list(values.items())))
    assert config_hash(values) == config_hash(backwards)
    assert len(config_hash(values)) == 16


def test_hash_tells_configurations_apart() -> None:
    base = resolve_run("mini")
    assert config_hash(base) == config_hash(resolve_run("mini"))
    assert config_hash(base) == config_hash(base.model_dump(mode="json"))
    assert config_hash(base) != config_hash(resolve_run("mini", {"train.weight_decay": 0.011}))


STAGES = {"train.stages": [{"name": "align", "trains": ["projector", "fusion"]}, {"name": "instruct", "trains": ["language"], "steps": 9}]}


def test_an_entry_of_a_list_is_told_by_its_name_and_the_others_stay() -> None:
    said = parse_set(
        [
            "train.stages.align.steps=5",
            "train.stages.align.learning_rate={projector: 0.001, fusion: 0.01}",
            "train.stages.instruct={warmup: 0.2}",
        ]
    )
    align, instruct = resolve_run("mini", STAGES, said).train.stages or ()
    assert (align.steps, align.learning_rate, align.trains) == (5, {"projector": 0.001, "fusion": 0.01}, ("projector", "fusion"))
    assert (instruct.steps, instruct.warmup) == (9, 0.2)
    assert STAGES["train.stages"][0] == {"name": "align", "trains": ["projector", "fusion"]}  # what was laid over is not changed


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("train.stages.aling.steps=5", r"has no entry 'aling' \(did you mean 'align'\?\); its entries are align, instruct"),
        ("train.stages.align.step=5", r"unknown key 'train.stages.align.step' \(did you mean 'steps'\?\)"),
        ("train.stages.align=5", "is no mapping; set a field of it"),
    ],
)
def test_an_entry_that_is_not_there_or_a_field_it_has_not_is_refused(said: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_run("mini", STAGES, parse_set([said]))
    with pytest.raises(ConfigError, match="stages is empty here"):
        resolve_run("mini", parse_set(["train.stages.align.steps=5"]))
