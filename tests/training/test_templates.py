"""The words of a run's dialogues and its longest sequence: fields of the run, from its plan to its predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_run import tiny
from transformers import PreTrainedTokenizerFast

from fila_lab.config import ConfigError, FilaError
from fila_lab.config.counts import llm_tokens
from fila_lab.config.language_folder import lacking_tokens, template_warning
from fila_lab.config.prompts import TEMPLATES, fixed_tokens
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.cost.closed.components import component_costs, forward_flops
from fila_lab.cost.closed.memory import memory_bytes
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.cost.count import count_flops
from fila_lab.data.seam.export import export
from fila_lab.modeling import build_model
from fila_lab.modeling.language import character_tokenizer
from fila_lab.studies.identity import cell_id
from fila_lab.training import FilaModule, run_cell
from fila_lab.training.checkpoints import hyper_parameters
from fila_lab.training.data import CellData, open_data
from fila_lab.training.predict import predict
from fila_lab.training.trained import save_trained

PLAIN: dict[str, Any] = {"fusion__name": "none", "train__steps": 3, "train__validate_every": 3}


def test_what_says_nothing_new_leaves_ids_and_records_as_they_were() -> None:
    usual = tiny()
    assert not {"template", "max_tokens"} & set(usual.model_dump()["language"])
    assert not {"template", "max_tokens"} & set(hyper_parameters(usual)["language"])
    assert cell_id(tiny(language__template="bare", language__max_tokens=None)) == cell_id(usual)
    others = {cell_id(tiny(language__template=name)) for name in TEMPLATES} | {cell_id(tiny(language__max_tokens=900))}
    assert len(others) == len(TEMPLATES) + 1
    whole = tiny(language__max_tokens=900).model_dump(context={"whole": True})["language"]
    assert (whole["template"], whole["max_tokens"]) == ("bare", 900)
    assert type(usual).model_validate(usual.model_dump()) == usual


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"language__template": "vicuna_v2"}, ["language.template = 'vicuna_v2'", "did you mean 'vicuna_v1'", "qwen_2_5"]),
        ({"language__max_tokens": 30}, ["language.max_tokens = 30", "an image alone takes", "geometry.canvases"]),
        ({"language__max_tokens": 0}, ["language.max_tokens"]),
    ],
)
def test_what_cannot_work_is_refused_with_the_run(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny(**fields)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize("name", ["vicuna_v1", "qwen_2", "plain"])
def test_rows_are_put_into_the_words_of_a_template(name: str, cache_dir: Path) -> None:
    config = tiny(**PLAIN, language__template=name)
    pools = open_data(config, cache_dir, ("train", "val"))
    data = CellData(config, pools, dict.fromkeys(pools), character_tokenizer())
    batch = next(iter(data.train_dataloader()))
    assert batch.vision is not None
    told = data.collators["train"].texts.prompt.tokens
    turns = pools["train"].turns(batch.rows)
    for ids, labels, (turn,) in zip(batch.vision.input_ids, batch.labels, turns, strict=True):
        carried = character_tokenizer().decode(labels[labels != -100].tolist(), skip_special_tokens=True)
        assert carried == TEMPLATES[name].answer.format(answer=turn.answers[0]) + ("\n" if name == "plain" else "")
        text = character_tokenizer().decode(ids.tolist(), skip_special_tokens=True)
        assert (turn.question in text) == (name != "plain")
    assert batch.vision.image_at == len(told.encode([(TEMPLATES[name].head + TEMPLATES[name].ask).split("{image}")[0]])[0])


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("vicuna_v1", "qwen_2")), "plain"])
def test_a_cell_trains_and_answers_in_the_words_of_its_template(name: str, tmp_path: Path, cache_dir: Path) -> None:
    config = tiny(**PLAIN, language__template=name)
    outcome = run_cell(config, workdir=tmp_path, cache_dir=cache_dir, checkpoint=tmp_path / TRAINED_PARTS)
    assert outcome.result["failure"] is None, outcome.result["failure"]
    assert outcome.result["set_aside"] == {}
    assert "exact/reading" in outcome.result["metrics"]
    Image.new("RGB", (200, 100), "white").save(tmp_path / "page.png")
    said = predict(tmp_path / "page.png", "red?", tmp_path)
    assert ("puts no question into words" in said) == (name == "plain")


def test_an_answer_is_freed_of_its_template_before_it_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """ " K7" behind "ASSISTANT:" is the answer "K7", and a caption's line break is its end, not part of it."""
    for name, told in (("vicuna_v1", " K7"), ("vicuna_v1", " K7</s>"), ("plain", "K7\n"), ("qwen_2", "K7<|im_end|>"), ("bare", "K7")):
        prompt = FilaModule.from_config(tiny(**PLAIN, language__template=name)).prompt
        assert prompt.said(told) == "K7", name
    module = FilaModule.from_config(tiny(**PLAIN, language__template="plain"))
    end = module.model.tokenizer("\n", add_special_tokens=False).input_ids[0]
    asked: list[Any] = []
    monkeypatch.setattr(type(module.model), "answer", lambda self, vision, limit, ends: asked.append((limit, ends)) or [])
    monkeypatch.setattr(module, "seen", lambda vision: vision)
    module.answer(None)  # type: ignore[arg-type]
    assert end in asked[0][1], "generation stops where training ended an answer"


def lengths(config: Any, cache_dir: Path) -> tuple[int, list[int]]:
    """(visual tokens of the one canvas, ids that each training row needs)."""
    pool = open_data(config, cache_dir, ("train",))["train"]
    (bucket,) = pool.buckets.values()
    assert bucket.geometry is not None
    turns = pool.turns(range(len(pool)))
    texts = [len(turn.question) + len(turn.answers[0]) + 1 for (turn,) in turns]
    return llm_tokens(bucket.geometry.canvas, config, bucket.geometry.image_size), texts


def test_rows_whose_answer_would_be_cut_off_are_set_aside_and_counted(tmp_path: Path, cache_dir: Path) -> None:
    one = {"geometry__canvases": [[168, 84]], "data__val_items": None, "data__train_items": None}
    visual, texts = lengths(tiny(**PLAIN, **one), cache_dir)
    most = visual + sorted(texts)[len(texts) // 2]
    config = tiny(**one, fusion__name="none", language__max_tokens=most, data__bad_rows=0.9, train__steps=12, train__validate_every=12)
    outcome = run_cell(config, workdir=tmp_path / "a", cache_dir=cache_dir)
    assert outcome.result["failure"] is None, outcome.result["failure"]
    ((reason, told),) = outcome.result["set_aside"]["unasked"].items()
    assert reason == "answer cut off"
    too_long = sum(visual + text > most for text in texts)
    assert 0 < too_long <= told["rows"], "two epochs have seen every training row"
    assert f"and {most} are read" in told["first"]
    assert "language.max_tokens" in told["first"]
    assert outcome.predictions is not None
    assert len(outcome.predictions) == outcome.result["answers"]["seam"]["given"]
    few = run_cell(config.model_copy(update={"data": tiny(**one).data}), workdir=tmp_path / "b", cache_dir=cache_dir)
    assert few.result["failure"]["kind"] == "bad_input"
    assert "data.bad_rows" in few.result["failure"]["message"]
    roomy = tiny(**PLAIN, language__max_tokens=10_000)
    outcome = run_cell(roomy, workdir=tmp_path / "c", cache_dir=cache_dir, test=False)
    usual = run_cell(tiny(**PLAIN), workdir=tmp_path / "d", cache_dir=cache_dir, test=False)
    assert outcome.result["curve"] == usual.result["curve"], "a limit that cuts nothing changes nothing"
    assert outcome.result["validation"] == usual.result["validation"]


def test_conversations_that_a_template_cannot_ask_are_set_aside(tmp_path: Path) -> None:
    config = tiny()
    export(config.data.seam, config.geometry, "train", 12, tmp_path / "files")
    path = tmp_path / "files" / "train.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows[0]["conversations"] += [{"from": "human", "value": "and again?"}, {"from": "gpt", "value": "no"}]
    path.write_text(json.dumps(rows), encoding="utf-8")
    data = {"suite": "llava", "path": str(path)}
    fields = {"data__train": data, "data__validate": data | {"limit": 3}, "data__train_items": None, "data__val_items": None}
    own = tiny(**PLAIN, **fields, data__workers=0, language__template="plain", data__bad_rows=0.5)
    outcome = run_cell(own, workdir=tmp_path / "work", cache_dir=tmp_path / "cache", test=False)
    assert outcome.result["failure"] is None, outcome.result["failure"]
    ((reason, told),) = outcome.result["set_aside"]["unasked"].items()
    assert (reason, told["rows"]) == ("not for this template", 2), "once in training, once in validation"
    assert "it has 2 questions" in told["first"]


def test_a_question_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    config = tiny(**PLAIN, language__max_tokens=400)
    save_trained(build_model(config), config, tmp_path / TRAINED_PARTS)
    Image.new("RGB", (200, 100), "white").save(tmp_path / "page.png")
    assert predict(tmp_path / "page.png", "red?", tmp_path)
    with pytest.raises(FilaError, match=r"QUESTION has 400 tokens.*and 400 are read.*language.max_tokens"):
        predict(tmp_path / "page.png", "red " * 100, tmp_path)


def test_a_tokenizer_that_lacks_a_template_s_tokens_is_said(tmp_path: Path) -> None:
    language = tiny(language__template="qwen_2").language
    assert lacking_tokens(language) == ("<|im_start|>", "<|im_end|>")
    warning = template_warning(language, lacking_tokens(language)) or ""
    assert "language.template = 'qwen_2': the tokenizer 'characters' has no token <|im_start|>, <|im_end|>" in warning
    assert "spells <|im_start|>, <|im_end|> out" in warning
    ending = tiny(language__template="vicuna_v1").language
    assert "ends answers with its own end token, not </s>" in (template_warning(ending, lacking_tokens(ending)) or "")
    assert template_warning(tiny().language, lacking_tokens(tiny().language)) is None
    tokenizer: PreTrainedTokenizerFast = character_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save_pretrained(tmp_path / "own")
    own = language.model_copy(update={"tokenizer": str(tmp_path / "own")})
    assert lacking_tokens(own) == ()
    assert lacking_tokens(language.model_copy(update={"tokenizer": "owner/name"})) is None, "only the hub's library could tell"


def test_costs_count_a_template_s_own_words() -> None:
    bare, talk = tiny(), tiny(language__template="vicuna_v1")
    assert text_tokens(bare.language) == 8
    spoken = TEMPLATES["vicuna_v1"]
    assert text_tokens(talk.language) == 8 + len(spoken.head) + len("USER: \n ASSISTANT:") + len(" ") + len("</s>")
    assert fixed_tokens("qwen_2", "owner/name") < fixed_tokens("qwen_2", "characters")
    assert forward_flops(talk) > forward_flops(bare)
    canvas = talk.geometry.canvases[0]
    assert count_flops(talk, canvas) == pytest.approx(sum(cost.flops for cost in component_costs(talk, canvas).values()), rel=0.02)
    files = {"data__train": {"suite": "llava", "path": "x"}, "data__evaluate": {"docvqa": {"path": "y"}}}
    assert memory_bytes(tiny(**files, language__max_tokens=8192)) > memory_bytes(tiny(**files))
    assert memory_bytes(tiny(language__max_tokens=8192)) == memory_bytes(tiny()), "generated texts are short"
