"""Benchmark metrics of one prediction against its answers, as their authors define them; a score is the mean over questions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from fila_lab.config.base import FilaError

Answers = str | Sequence[str]


def exact_match(prediction: str, answers: Answers) -> bool:
    """Equal to one of the answers, letter case and surplus white space aside."""
    return _plain(prediction) in {_plain(answer) for answer in _listed(answers)}


def anls(prediction: str, answers: Answers, threshold: float = 0.5) -> float:
    """ANLS (DocVQA): 1 - Levenshtein distance / longer length, 0 where that is below `threshold`; the best answer counts."""
    return max(_similarity(_plain(prediction), _plain(answer), threshold) for answer in _listed(answers))


def relaxed_accuracy(prediction: str, answers: Answers, tolerance: float = 0.05) -> bool:
    """ChartQA: numbers within `tolerance` of the target, relative to it, percentages as shares; all else, and a target of 0, as text."""
    return any(_relaxed(prediction, answer, tolerance) for answer in _listed(answers))


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """VQA and TextVQA: mean over leaving one annotator out of min(1, agreeing annotators / 3), after the benchmark's text normalisation."""
    annotators = _listed(answers)
    if len(annotators) < 2:
        raise FilaError(f"answers: VQA accuracy leaves one annotator out, so it needs at least 2 answers, not {len(annotators)}")
    said = normalise_vqa(prediction)
    agree = [normalise_vqa(answer) == said for answer in annotators]
    total = sum(agree)
    return sum(min(1.0, (total - own) / 3) for own in agree) / len(agree)


def levenshtein(first: str, second: str) -> int:
    """Least number of insertions, deletions and substitutions of one character."""
    previous = list(range(len(second) + 1))
    for row, left in enumerate(first, 1):
        current = [row]
        for column, right in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (left != right)))
        previous = current
    return previous[-1]


_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_CONTRACTED = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's i'm i've isn't it'd
it'll let's ma'am might've mightn't must've mustn't needn't o'clock oughtn't shan't she's should've shouldn't that'd that's
there'd there're there's they'd they'll they're they've wasn't we've weren't what'll what're what's what've when's where'd where's
where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_CONTRACTIONS = {word.replace("'", ""): word for word in _CONTRACTED.split()}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"(?<=\d),+(?=\d)")
_FULL_STOP = re.compile(r"\.(?!\d)")


def normalise_vqa(text: str) -> str:
    """The VQA evaluation's normal form: lower case, number words as digits, no articles or punctuation, contractions spelled right."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").replace("\n", " ").replace("\t", " ").strip()
    cleaned = text
    for mark in _PUNCTUATION:
        at_word_edge = mark + " " in text or " " + mark in text or _THOUSANDS.search(text) is not None
        cleaned = cleaned.replace(mark, "" if at_word_edge else " ")
    words = [_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", cleaned).split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _listed(answers: Answers) -> list[str]:
    listed = [answers] if isinstance(answers, str) else list(answers)
    if not listed:
        raise FilaError("answers is empty; give at least one answer to compare with")
    return listed


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _similarity(prediction: str, answer: str, threshold: float) -> float:
    longer = max(len(prediction), len(answer))
    if not longer:
        return 1.0
    similarity = 1 - levenshtein(prediction, answer) / longer
    return similarity if similarity >= threshold else 0.0


def _relaxed(prediction: str, target: str, tolerance: float) -> bool:
    said, meant = _number(prediction), _number(target)
    if said is not None and meant:
        return abs(said - meant) / abs(meant) <= tolerance
    return _plain(prediction) == _plain(target)


def _number(text: str) -> float | None:
    text = text.strip()
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
