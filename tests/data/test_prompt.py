"""Prompts: the words of public templates against strings that were rendered by their own code, and what holds for every tokenizer."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from fila_lab.config.base import ConfigError
from fila_lab.config.prompts import TEMPLATES
from fila_lab.data.prompt import Dialogue, Encoded, Prompt, Tokens
from fila_lab.data.suite import Item, TaskRule, Turn

RENDERED = json.loads((Path(__file__).parent / "chat_templates.json").read_text(encoding="utf-8"))
SPECIAL = ("</s>", "<|im_start|>", "<|im_end|>", "<unk>")
TALK = Dialogue((Turn("What is written?", ("stop",)), Turn("And below?", ("wet paint",))))


def letters(*, special: bool = True) -> Tokens:
    """A token a character, so that ids can be read back."""

    def token(text: str) -> int | None:
        return 10**7 + SPECIAL.index(text) if special and text in SPECIAL else None

    return Tokens(lambda texts: [[ord(letter) for letter in text] for text in texts], token, end=10**7 + 9)


def read(encoded: Encoded) -> str:
    """The text of ids of `letters`, with the image in it."""
    words = [SPECIAL[i - 10**7] if 10**7 <= i < 10**7 + 9 else "<end>" if i == 10**7 + 9 else chr(i) for i in encoded.ids]
    if encoded.image_at is not None:
        words.insert(encoded.image_at, "<image>")
    return "".join(words)


def counted(encoded: Encoded) -> list[str]:
    """The stretches of text that carry loss."""
    found, before = [], False
    for token, counts in zip(encoded.ids, encoded.loss, strict=True):
        if counts:
            found[-1:] = [found[-1] + [token]] if before else [*found[-1:], [token]]
        before = counts
    return [read(Encoded(ids)) for ids in found]


@pytest.mark.parametrize("name", ["vicuna_v1", "qwen_1_5", "qwen_2_5", "smollm2"])
def test_templates_say_what_their_own_code_says(name: str) -> None:
    prompt = Prompt(name, letters())
    (trained,) = prompt.training([TALK])
    assert read(trained) == RENDERED[f"{name}/train2"]
    (asked,) = prompt.asking([Dialogue(TALK.turns[:1])])
    assert read(asked) == RENDERED[f"{name}/infer1"]
    end = RENDERED[f"{name}/meta"]["sep2"] or RENDERED[f"{name}/meta"]["sep"]
    space = " " if name == "vicuna_v1" else ""
    assert counted(trained) == [f"{space}stop{end}", f"{space}wet paint{end}"]
    assert prompt.ends[0] == letters().token(end)


def test_bare_and_plain_are_as_short_as_can_be() -> None:
    bare, plain = Prompt("bare", letters()), Prompt("plain", letters())
    (trained,) = bare.training([TALK])
    assert read(trained) == "<image>What is written?stop<end>And below?wet paint<end>"
    assert counted(trained) == ["stop<end>", "wet paint<end>"]
    (caption,) = plain.training([Dialogue((Turn("Describe it.", ("a dog",)),))])
    assert (read(caption), counted(caption)) == ("<image>a dog\n", ["a dog\n"])
    assert read(plain.asking([Dialogue((Turn("Describe it.", ()),))])[0]) == "<image>"
    assert plain.ends == (ord("\n"), letters().end)
    assert plain.refused(TALK, trained=True) == (
        "not for this template",
        "template plain takes one answer to an image, and it has 2 questions",
    )
    assert plain.refused(Dialogue(TALK.turns[:1], image=False), trained=True) is not None
    assert plain.refused(Dialogue(TALK.turns[:1]), trained=True) is None


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_ending_stands_behind_every_question_and_text_rows_have_no_image(name: str) -> None:
    turns = TALK.turns[:1] if name == "plain" else TALK.turns
    prompt = Prompt(name, letters())
    item = Item("1", "docvqa", "1", turns, None)
    (encoded,) = prompt.training([Dialogue.of(item, TaskRule(ending="\nBe brief."))])
    assert encoded.image_at is None
    assert "<image>" not in read(encoded)
    assert read(encoded).count("\nBe brief.") == (0 if name == "plain" else 2)


def test_what_has_no_answer_or_too_long_a_text_is_told() -> None:
    prompt = Prompt("bare", letters(), max_tokens=40)
    unknown = Dialogue((Turn("a", ("b",)), Turn("c", ())))
    assert prompt.refused(unknown, trained=True) == ("no answer", "question 2 has no answer that is known")
    assert prompt.refused(unknown, trained=False) is None
    assert prompt.refused(Dialogue(unknown.turns[::-1]), trained=False) is not None
    (trained,) = prompt.training([Dialogue(TALK.turns[:1])])  # 16 and 5 ids
    assert prompt.cut_off(trained, visual=19) is None
    reason, what = prompt.cut_off(trained, visual=20) or ("", "")
    assert (reason, what.partition(";")[0]) == ("answer cut off", "image and text need 41 tokens, and 40 are read")
    (asked,) = prompt.asking([Dialogue(TALK.turns[:1])])
    assert (prompt.cut_off(asked, 23), prompt.cut_off(asked, 24) is None) == (None, False)
    assert Prompt("bare", letters()).cut_off(trained, 10**6) is None
    led = Prompt("bare", Tokens(letters().encode, letters().token, 1, leading=1), max_tokens=40)
    assert led.cut_off(trained, visual=19) is not None
    (further,) = Prompt("bare", letters()).asking([TALK])
    least = Prompt("bare", letters(), max_tokens=len(further.ids) + 1)
    assert (least.cut_off(further, 0), least.cut_off(further, 1) is None) == (None, False), "behind earlier answers too"
    (text,) = prompt.training([Dialogue(TALK.turns[:1], image=False)])
    assert prompt.cut_off(text, visual=1000) is None


def test_an_answer_s_end_may_stand_beyond_what_is_read_only_without_loss() -> None:
    """The line break behind <|im_end|> is nobody's answer."""
    (trained,) = Prompt("qwen_2", letters()).training([TALK])
    assert trained.ids[-1] == ord("\n")
    assert Prompt("qwen_2", letters(), max_tokens=len(trained.ids) - 1).cut_off(trained, 0) is None
    assert Prompt("qwen_2", letters(), max_tokens=len(trained.ids) - 2).cut_off(trained, 0) is not None


def test_a_tokenizer_without_a_template_s_tokens_spells_them_and_ends_with_its_own() -> None:
    prompt = Prompt("qwen_2", letters(special=False))
    (trained,) = prompt.training([TALK])
    assert counted(trained) == ["stop<end>", "wet paint<end>"]
    assert read(trained).startswith("<|im_start|>system")
    assert prompt.ends == (letters().end,)


def test_an_unknown_template_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'vicuna' is unknown \(did you mean 'vicuna_v1'\?\)"):
        Prompt("vicuna", letters())


CORPUS = [re.sub(r"<[^ ]*?>", "", text) for text in RENDERED.values() if isinstance(text, str)] + ["the total is 41.20 EUR\n\n: ?"]


@cache
def built(kind: str) -> Tokens:
    """A tokenizer of a kind that public models have, trained here on a few words."""
    if kind == "words":
        raw = Tokenizer(models.WordLevel(unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w]"), behavior="isolated")
        trainer: Any = trainers.WordLevelTrainer(special_tokens=list(SPECIAL))
    elif kind == "bytes":  # as Qwen
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    else:  # as Llama: a text begins with a space
        raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always" if kind == "llama, legacy" else "first")
        bytes_ = [f"<0x{value:02X}>" for value in range(256)]
        trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=[*SPECIAL, *bytes_])
    raw.train_from_iterator(CORPUS * 20, trainer)
    joint = Tokenizer.from_str(raw.to_str())
    raw.encode_special_tokens = True
    tokens = Tokens(
        lambda texts: [one.ids for one in raw.encode_batch(list(texts), add_special_tokens=False)], raw.token_to_id, raw.token_to_id("</s>")
    )
    JOINT[kind] = lambda text: joint.encode(text, add_special_tokens=False).ids
    return tokens


JOINT: dict[str, Any] = {}
KINDS = ("words", "bytes", "llama", "llama, legacy")
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="ab :\n.</s>|im_end", max_size=20),
    st.sampled_from(["</s>", "<|im_end|>", "{question}", "{image}", "<image>", " ", "\n", "{answer}", "ASSISTANT:", " stop", ": 41.20"]),
)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    turns=st.lists(st.tuples(TEXTS, TEXTS.filter(bool)), min_size=1, max_size=3),
    image=st.booleans(),
    ending=st.sampled_from(["", "\nAnswer with one word."]),
)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_the_beginning_of_what_was_trained(
    name: str, kind: str, turns: list[tuple[str, str]], image: bool, ending: str
) -> None:
    """At every turn, for any text; what carries loss is the rest, up to the next question."""
    prompt = Prompt(name, built(kind))
    if name == "plain":
        turns, image = turns[:1], True
    whole = Dialogue(tuple(Turn(question, (answer,)) for question, answer in turns), image, ending)
    (trained,) = prompt.training([whole])
    assert len(trained.ids) == len(trained.loss)
    place = 0
    for number in range(1, len(turns) + 1):
        (asked,) = prompt.asking([Dialogue(whole.turns[:number], image, ending)])
        assert trained.ids[: len(asked.ids)] == asked.ids
        assert asked.image_at == trained.image_at
        assert not any(trained.loss[place : len(asked.ids)])
        place = len(asked.ids)
        while place < len(trained.loss) and trained.loss[place]:
            place += 1
        assert place > len(asked.ids)
        assert trained.ids[place - 1] in prompt.ends or name == "plain"
    assert not any(trained.loss[place:])
    batch = prompt.training([TALK, whole, TALK] if name != "plain" else [whole, whole])
    assert batch[1 if name != "plain" else 0] == trained


@settings(max_examples=60)
@given(kind=st.sampled_from(KINDS), question=TEXTS, answer=TEXTS.filter(bool))
def test_no_text_of_the_user_s_ends_an_answer(kind: str, question: str, answer: str) -> None:
    """Special tokens that stand in a question or an answer are spelled out."""
    for name in ("vicuna_v1", "qwen_2"):
        prompt = Prompt(name, built(kind))
        (trained,) = prompt.training([Dialogue((Turn(question, (answer,)),))])
        answered = [token for token, counts in zip(trained.ids, trained.loss, strict=True) if counts]
        assert not set(answered[:-1]) & set(prompt.ends)


@pytest.mark.parametrize(("name", "kind"), [("qwen_1_5", "bytes"), ("qwen_2_5", "bytes"), ("vicuna_v1", "llama")])
def test_pieces_are_what_the_whole_text_would_be(name: str, kind: str) -> None:
    """Encoded as LLaVA does: what stands before the image, and what stands behind it."""
    (trained,) = Prompt(name, built(kind)).training([TALK])
    parts = [JOINT[kind](part) for part in RENDERED[f"{name}/train2"].split("<image>")]
    assert trained.ids == [*parts[0], *parts[1]]
    assert trained.image_at == len(parts[0])
