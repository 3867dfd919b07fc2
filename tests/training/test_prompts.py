"""Prompts through the laboratory's own tokenizers: the ids that cells have always been trained on, and no border that a text can move."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config.prompts import TEMPLATES
from fila_lab.data.prompt import Dialogue
from fila_lab.data.suite import Turn
from fila_lab.modeling.language import character_tokenizer, word_tokenizer
from fila_lab.training.prompts import prompt_of
from fila_lab.training.texts import Texts

TOKENIZERS = {"characters": character_tokenizer(), "words": word_tokenizer()}
ASKED = [("red code?", "K7"), ("sum of row 3", "red"), ("box above top left?", "yes"), ("K 9 é", "a\nb"), ("", "no")]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_bare_prompts_are_question_answer_and_end_token(name: str) -> None:
    """Encoded one by one with the tokenizer alone, and padded by the class that makes batches."""
    tokenizer = TOKENIZERS[name]
    prompt = prompt_of("bare", tokenizer)
    dialogues = [Dialogue((Turn(question, (answer,)),)) for question, answer in ASKED]
    asked, trained = prompt.asking(dialogues), prompt.training(dialogues)
    one_by_one = [
        [tokenizer(text, add_special_tokens=False).input_ids for text in (question, answer)] for question, answer in ASKED
    ]  # fmt: skip
    assert [row.ids for row in asked] == [question for question, _ in one_by_one]
    assert [row.ids for row in trained] == [[*question, *answer, tokenizer.eos_token_id] for question, answer in one_by_one]
    ids, lengths, labels, image_at = Texts(tokenizer)(dialogues, answered=True)
    assert image_at == 0
    for row, own, length, label in zip(trained, ids.tolist(), lengths.tolist(), labels.tolist(), strict=True):
        assert own[: len(row.ids)] == row.ids
        assert row.prompt_length == length
        assert label[: len(row.ids)] == row.labels()
        assert set(label[len(row.ids) :]) <= {-100}


@settings(max_examples=40)
@given(
    turns=st.lists(st.tuples(st.text(max_size=12), st.text(min_size=1, max_size=12)), min_size=1, max_size=3),
    name=st.sampled_from(sorted(TOKENIZERS)),
    template=st.sampled_from(sorted(TEMPLATES)),
)
def test_a_prompt_is_the_beginning_of_what_was_trained(turns: list[tuple[str, str]], name: str, template: str) -> None:
    prompt = prompt_of(template, TOKENIZERS[name])
    whole = tuple(Turn(question, (answer,)) for question, answer in turns[: 1 if template == "plain" else 3])
    (trained,) = prompt.training([Dialogue(whole)])
    for number in range(1, len(whole) + 1):
        (asked,) = prompt.asking([Dialogue(whole[:number])])
        assert trained.ids[: len(asked.ids)] == asked.ids
        assert trained.loss[len(asked.ids)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_an_end_token_in_a_text_is_spelled_out(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    (trained,) = prompt_of("bare", tokenizer).training([Dialogue((Turn("a<eos>?", ("<eos><pad>red",)),))])
    assert trained.ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.pad_token_id not in trained.ids
    assert tokenizer.decode(trained.ids[:-1]) == "a<eos>?<eos><pad>red"
