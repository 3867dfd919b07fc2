"""Multiple choice: which option a text names. Each harness has its own reading; all compare a letter with the answer's."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from fila_lab.evaluation.scores.base import score
from fila_lab.evaluation.scores.texts import plain

LETTERS = string.ascii_uppercase[:8]
"""Options whose texts are not known are A to H."""

_RANKED_NOUNS = (
    *(f"{before}answer is" for before in ("", "the ", "correct ", "the correct ", "best ", "the best ", "my ")),
    *(f"{before}option is" for before in ("correct ", "the correct ", "best ", "the best ")),
    *(f"{before}choice is" for before in ("", "the ", "correct ", "the correct ", "my ")),
)
_RANKED_PHRASES = (*_RANKED_NOUNS, "i choose", "i select", "i pick", "옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは")
_AROUND = (
    *(("", behind) for behind in (".", ",", ":", ")", ").")),
    *(("(", behind) for behind in (")", ").")),
    *((":", behind) for behind in ("", ",", ".", ")", ").")),
)
"""What MMBench's reading in lmms-eval accepts around a letter, in its order."""
_VSTAR = [
    re.compile(pattern)
    for pattern in (
        r"^([A-D])",
        r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\s*[.)\]]",
        r"(?:^|\s)([A-D])(?:\s|$)",
    )
]
_LEADING = re.compile(r"[(\[]?([A-Za-z])(?:[.):\],]+(?:\s|$)|$)")
_DECLARED = re.compile(r"\b(?:answer|option|choice)\b(?:\s+is\b|\s*:)?\s*(?:option\s+)?[(\[\"'*]*([A-Z])(?![\w'’])", re.IGNORECASE)
_STANDING = re.compile(r"(?<![\w'’])([A-Z])(?![\w'’])")


def options_of(options: Any) -> dict[str, str]:
    """Letter -> text of the options as an item knows them: a mapping, a list, or one text with a line for each."""
    if isinstance(options, Mapping):
        return {str(letter): str(text) for letter, text in options.items()}
    listed = options.splitlines() if isinstance(options, str) else list(options)
    return dict(zip(string.ascii_uppercase, map(str, listed), strict=False))


@score("letter", may_know=("options",))
def letter(prediction: str, answers: tuple[str, ...], options: Any = ()) -> float:
    """The option's letter in any form that leaves no doubt, or the whole text of one option."""
    return read_letter(prediction, options_of(options)) in answers


@score("choice_letter")
def choice_letter(prediction: str, answers: tuple[str, ...]) -> float:
    """By lmms-eval's ranked rule, as its `static` MMBench takes it."""
    return ranked_letter(prediction) in answers


@score("mmbench_choice", known=("options",))
def mmbench_choice(prediction: str, answers: tuple[str, ...], options: Any) -> float:
    """MMBench as lmms-eval reads it before it asks a judge; what it cannot read is wrong here."""
    return read_mmbench(prediction, options_of(options)) in answers


@score("mmbench_vlmevalkit", known=("options",))
def mmbench_vlmevalkit(prediction: str, answers: tuple[str, ...], options: Any) -> float:
    """MMBench as VLMEvalKit reads it before it asks a judge."""
    return read_mmbench_vlmevalkit(prediction, options_of(options)) in answers


@score("scienceqa")
def scienceqa(prediction: str, answers: tuple[str, ...]) -> float:
    """ScienceQA in lmms-eval: the letter in either case, or a text that begins with the capital and a full stop."""
    said = prediction.strip()
    return said.upper() in answers or (said[1:2] == "." and said[0] in answers)


@score("scienceqa_llava")
def scienceqa_llava(prediction: str, answers: tuple[str, ...]) -> float:
    """ScienceQA in LLaVA: the capital alone, before a full stop and a space, or behind `The answer is`."""
    said = prediction.replace("\n", ". ")
    found = re.match(r"\s*([A-E])\s*$", said) or re.match(r"([A-E])\. ", said) or re.search(r"The answer is ([A-E])", said)
    return found is not None and found[1] in answers


@score("seedbench")
def seedbench(prediction: str, answers: tuple[str, ...]) -> float:
    """SEED-Bench: the first character, in either case."""
    return prediction.strip()[:1].upper() in answers


@score("vstar_letter")
def vstar(prediction: str, answers: tuple[str, ...]) -> float:
    """V*: the first letter A to D, in either case; a word that begins with one counts."""
    return vstar_letter(prediction) in answers


def read_letter(prediction: str, options: Mapping[str, str]) -> str | None:
    """The letter that a prediction names without doubt: alone or before punctuation (either case), behind `answer`, `option` or `choice`,
    or the only capital that stands alone and is not an article; or the option whose text it is. None in doubt."""
    text = prediction.strip()
    letters = options or dict.fromkeys(LETTERS, "")
    whole = plain(text.rstrip("."))
    if same := [name for name, option in options.items() if whole and plain(option.rstrip(".")) == whole]:
        return same[0] if len(same) == 1 else None
    if (leading := _LEADING.match(text)) and leading[1].upper() in letters:
        return leading[1].upper()
    declared = {found[1] for found in _DECLARED.finditer(text) if found[1] in letters}
    standing = {found[1] for found in _STANDING.finditer(text) if found[1] in letters and not _article(text, found)}
    named = declared or standing
    return next(iter(named)) if len(named) == 1 else None


def ranked_letter(prediction: str, letters: Sequence[str] = LETTERS) -> str:
    """The letter of the highest rank: at the start, at the end, behind `the answer is`, `(A)`, `A.`, `A:`, `A)`, `A `, anywhere; of equal
    rank the last in the text. "" where there is none."""
    text = prediction.strip()
    for mark in ",.!?;:'\"":
        text = text.strip(mark)
    text = f" {text} "
    bare = text.strip()
    found: list[tuple[int, int, str]] = []  # rank, position, letter
    for name in letters:
        for rank, form in ((6, f"({name})"), (5, f"{name}."), (4, f"{name}:"), (3, f"{name})"), (2, f"{name} ")):
            if form in text:
                found.append((rank, text.rfind(form), name))
        if bare.startswith(name) and not bare[1:2].isalpha():
            found.append((10, 0, name))
        if bare.endswith(name) and not bare[-2:-1].isalpha():
            found.append((9, len(text), name))
        for phrase in _RANKED_PHRASES:
            start = text.lower().find(phrase)
            if start >= 0 and (place := text.find(name, start + len(phrase))) >= 0:
                found.append((7, place, name))
    found = found or [(0, text.rfind(name), name) for name in letters if name in text]
    return max(found)[2] if found else ""


def read_mmbench(prediction: str, options: Mapping[str, str]) -> str | None:
    """MMBench's reading in lmms-eval: the one letter that is a word (`A` among more than three words may be an article), the one letter in
    a form such as `B.`, `(B)` or `B:`, else the one option whose text stands in the prediction. Capitals only. None where it finds none."""
    words = prediction.split()
    alone = [name for name in "ABCDE" if name in words]
    if len(alone) == 1 and not (alone == ["A"] and len(words) > 3):
        return alone[0]
    for before, behind in _AROUND:
        formed = [name for name in "ABCDE" if f"{before}{name}{behind}" in words]
        if len(formed) == 1:
            return formed[0]
    return _option_within(prediction, options)


def read_mmbench_vlmevalkit(prediction: str, options: Mapping[str, str]) -> str | None:
    """VLMEvalKit's reading: punctuation aside, the one letter of the options that is a word, if among the last five; else the one option
    whose text stands in a prediction of at most twice the length of all of them."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", prediction).split()
    alone = [name for name in options if name in words]
    if len(alone) == 1 and words.index(alone[0]) > len(words) - 5:
        return alone[0]
    if len(prediction) > 2 * sum(map(len, options.values())):
        return None
    return _option_within(prediction, options)


def vstar_letter(prediction: str) -> str | None:
    """The letter A to D that V*'s reading in lmms-eval finds: the first character if it is one, else in an answer's usual forms, else the
    only one in the text."""
    text = prediction.strip().upper()
    for pattern in _VSTAR:
        if found := pattern.search(text):
            return found[1]
    only = re.findall("[A-D]", text)
    return only[0] if len(only) == 1 else None


def _option_within(prediction: str, options: Mapping[str, str]) -> str | None:
    said = prediction.lower()
    named = [name for name, text in options.items() if text.lower() in said]
    return named[0] if len(named) == 1 else None


def _article(text: str, found: re.Match[str]) -> bool:
    """Whether a capital that stands alone may be the word `A` or `I`."""
    following = re.match(r" +(\w+)", text[found.end() :])
    return found[1] in "AI" and following is not None and following[1] not in ("is", "or", "and")
