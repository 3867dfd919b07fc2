"""Whether a question is one that a trained cell could know: in its tokenizer's words, and of a form that its items had."""

from __future__ import annotations

import re
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.seam_words import WORDS
from fila_lab.config.suites import SEAM, SuiteConfig
from fila_lab.data.seam import SeamSuite

MAX_QUESTION_TOKENS = 2048
"""A question this long takes seconds on a CPU; time grows with the square."""
DRAWN = 60
"""Training questions of a task that are looked at: enough for all its forms."""
_WORD = re.compile(r"[^\W\d_]*[a-z][^\W\d_]*")
_CODE = re.compile(r"[A-Z0-9]+")


def check_question(question: str) -> None:
    """FilaError for a question that is no text, or without a character, or with bytes that are no text."""
    if not isinstance(question, str):
        raise FilaError(f"QUESTION = {question!r} is no text; ask for instance 'red?' or 'FR?'")
    if not question.strip():
        raise FilaError("QUESTION is empty; ask for instance 'red?' or 'FR?'")
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise FilaError("QUESTION holds bytes that are no text in this terminal's encoding; use UTF-8, e.g. LC_ALL=C.UTF-8") from error


def check_length(tokens: int, seen: int, kept: int, positions: int | None, longest: int | None = MAX_QUESTION_TOKENS) -> None:
    """FilaError for a question of more tokens than are read.

    Args:
        tokens: of the question, in its template's words, and of what was asked before it.
        seen, kept: what the image takes, and the answer.
        positions: the most tokens that the language model reads; None where it tells no limit.
        longest: the most tokens of a question; None: what the model has room for.
    """
    positions = positions or (tokens if longest is None else longest) + seen + kept
    room = positions - seen - kept
    most = room if longest is None else min(longest, room)
    if tokens > most:
        raise FilaError(
            f"QUESTION has {tokens} tokens; at most {max(most, 0)} are read (the model has {positions} positions, of which the image "
            f"takes {seen} and the answer {kept}); shorten it"
        )


def unknown_tokens(tokenizer: PreTrainedTokenizerBase, question: str) -> list[str]:
    """The characters or words that the tokenizer has no token for, each once, in their order."""
    if tokenizer.unk_token_id is None:
        return []
    encoded = tokenizer(question, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast)
    if not tokenizer.is_fast:
        return [question] if tokenizer.unk_token_id in encoded.input_ids else []
    pairs = zip(encoded.input_ids, encoded.offset_mapping, strict=True)
    return list(dict.fromkeys(question[start:end] for token, (start, end) in pairs if token == tokenizer.unk_token_id))


def examples_if_unlike(question: str, config: RunConfig) -> dict[str, str]:
    """Task -> one of its questions, where `question` has a form or a word that none of the cell's training items has; else empty. Empty too
    for a cell that was trained on anything but the seam suite: what other data ask is not known here.

    A form is a question with its first word and with every further word and code (capitals and digits) in its place. Questions are drawn,
    without their pages, until the form is met, so a question of a trained task is soon known.
    """
    if any(source.suite != SEAM for source in _trained_on(config)):
        return {}
    form, examples = _form(question), dict[str, str]()
    foreign = set(_WORD.findall(question)[1:]) - set(WORDS)
    for task, known in _training_questions(config):
        examples.setdefault(task, known)
        if not foreign and _form(known) == form:
            return {}
    return examples


def _trained_on(config: RunConfig) -> list[SuiteConfig]:
    """The sources of all training rows, those of every stage."""
    stages = config.train.stages or ()
    own = [source for stage in stages if stage.data is not None for source in stage.data]
    return own if stages and all(stage.data is not None for stage in stages) else [*own, *config.data.train]


def _training_questions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(task, question) of training items, the tasks in turn."""
    suite = SeamSuite(config.data.seam, config.geometry)
    own = {task: suite.only(task) for task, share in config.data.seam.tasks.items() if share}
    for index in range(DRAWN):
        for task, items in own.items():
            yield task, items.unpainted("train", index)[0].question


def _form(question: str) -> str:
    text = question.strip()
    first = _WORD.search(text)
    after = first.end() if first else 0
    return _CODE.sub("X", text[:after]) + _CODE.sub("X", _WORD.sub("w", text[after:]))
