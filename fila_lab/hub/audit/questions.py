"""The suite's questions in words that any model understands, and when an answer is right.

The suite's own questions (`red?`) are what `mini` is trained on; a model from elsewhere is asked whole sentences.
"""

from __future__ import annotations

import re
from functools import cache

from fila_lab.config.data import SeamTask
from fila_lab.config.seam_words import NO, QUESTIONS, RELATIONS, SHAPES, YES
from fila_lab.data.seam import SeamItem

SENTENCES: dict[tuple[SeamTask, str], str] = {
    ("reading", "colour"): "What is written in {}? Answer with what is written and nothing else.",
    ("reading", "key"): "One label in the image has {} in its upper line. What is written below that? Answer with what is written and "
    "nothing else.",
    ("document", "label"): "What is written in the form field with the label {}? Answer with the value and nothing else.",
    ("table", "row"): "Which number stands in row {} of the table? Answer with the number and nothing else.",
    ("table", "cell"): "Which number stands in row {} and column {} of the table? Answer with the number and nothing else.",
    ("chart", "colour"): "The grid lines of the bar chart are numbered upwards from 0 at the bottom. Up to which line does the {} bar "
    "reach? Answer with one number and nothing else.",
    ("counting", "colour"): "How many {} dots are in the image? Answer with one number and nothing else.",
    ("spatial", "pair"): "Seen from the {1} shape, where is the {0} shape? Answer with one word: " + ", ".join(RELATIONS) + ".",
    ("attribute", "colour"): "Which small light shape is on the {} square? Answer with one word: " + ", ".join(SHAPES) + ".",
    ("presence", "colour"): "Is there a {} {} in the image? Answer with yes or no.",
}
"""(task, what addresses the target) -> what is asked; the names of what is meant come in the order of the suite's question."""

CHOICES = (RELATIONS, SHAPES, (YES, NO))
"""Answers that a question lists: who repeats them all has not answered."""


def bare(item: SeamItem) -> str:
    """The suite's own question, for models that were trained on it."""
    return item.question


def sentence(item: SeamItem) -> str:
    """What a model is asked about an item."""
    found = _pattern(item.task).fullmatch(item.question)
    assert found is not None  # the suite wrote it by the same template
    names = [name.upper() if item.addressing == "label" else name for group in found.groups() for name in group.split()]
    return SENTENCES[item.task, item.addressing].format(*names)  # type: ignore[index]


def right(said: str, answer: str) -> bool:
    """Whether an answer is the true one: all of what is said, letter case and punctuation aside; or, in a sentence that says more, a word
    of its own, where no other of the possible answers stands too. Codes are what is written in capitals or holds digits."""
    words = re.findall(r"[A-Za-z0-9]+", said)
    if "".join(words).casefold() == answer.casefold():
        return True
    if choice := next((one for one in CHOICES if answer in one), None):
        return {word.lower() for word in words} & set(choice) == {answer}
    return {word for word in words if word.isupper() or any(letter.isdigit() for letter in word)} == {answer}


@cache
def _pattern(task: str) -> re.Pattern[str]:
    """The suite's question of a task with a group for each of its names."""
    parts = QUESTIONS[task].split("{}")  # type: ignore[index]
    return re.compile("(.+)".join(map(re.escape, parts)))
