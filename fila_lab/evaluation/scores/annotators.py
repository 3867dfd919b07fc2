"""VQA accuracy: how many annotators agree with the prediction, of three, after a normal form. The forms differ between benchmarks."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from fila_lab.config.base import FilaError
from fila_lab.evaluation.scores.base import score

ENOUGH = 3
"""Annotators who agree that make an answer wholly right."""

_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll how's
isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd we'd've
we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {"somebody'd": "somebodyd"} | {
    word[:place] + word[place + 1 :]: word for word in _CONTRACTED.split() for place, mark in enumerate(word) if mark == "'"
}
"""What lacks one of its apostrophes -> spelled right, and one entry of the challenge's table that is the other way round."""
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,+\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOP_ALONE = re.compile(r"(?<!\d)\.(?!\d)")


@score("vqa")
def vqa(prediction: str, answers: tuple[str, ...]) -> float:
    """TextVQA and VizWiz: by EvalAI's normal form."""
    return _agreement(prediction, answers, vqa_normalise)


@score("vqa_v2")
def vqa_v2(prediction: str, answers: tuple[str, ...]) -> float:
    """VQAv2: by the challenge's normal form, of answers always (its own script leaves unanimous ones as they stand)."""
    return _agreement(prediction, answers, vqa_v2_normalise)


@score("vqa_vlmevalkit")
def vqa_vlmevalkit(prediction: str, answers: tuple[str, ...]) -> float:
    """VQAv2 and its like in VLMEvalKit: the challenge's normal form, but a full stop behind a digit stays."""
    return _agreement(prediction, answers, vqa_vlmevalkit_normalise)


@score("vqa_v2_no_ids")
def vqa_v2_no_ids(prediction: str, answers: tuple[str, ...]) -> float:
    """VQAv2 as lmms-eval has it where answers carry no `answer_id`: annotators are told apart by what they said, so each leaves out all
    of its own opinion, and a right answer that is unanimous scores 0."""
    said = vqa_v2_normalise(prediction)
    listed = [vqa_v2_normalise(answer) for answer in answers]
    return sum(min(1.0, sum(other == said != own for other in listed) / ENOUGH) for own in listed) / len(listed)


def vqa_normalise(text: str) -> str:
    """EvalAI's normal form: lower case, number words as digits, no articles or punctuation, contractions spelled right, `'s` apart."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return _normal(text, _FULL_STOP)


def vqa_v2_normalise(text: str) -> str:
    """The VQA challenge's normal form: as EvalAI's without its first step, so commas part words (`one,two`) and `it's` stays whole."""
    return _normal(text, _FULL_STOP)


def vqa_vlmevalkit_normalise(text: str) -> str:
    """VLMEvalKit's normal form: as the challenge's, but `10.` keeps its full stop."""
    return _normal(text, _FULL_STOP_ALONE)


@lru_cache(maxsize=1 << 16)  # annotators say the same words again and again
def _normal(text: str, full_stop: re.Pattern[str]) -> str:
    text = text.replace("\n", " ").replace("\t", " ").strip()
    cleaned = text
    for mark in _PUNCTUATION:
        at_word_edge = mark + " " in text or " " + mark in text or _THOUSANDS.search(text) is not None
        cleaned = cleaned.replace(mark, "" if at_word_edge else " ")
    words = [_NUMBERS.get(word, word) for word in full_stop.sub("", cleaned).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _agreement(prediction: str, answers: tuple[str, ...], normal: Callable[[str], str]) -> float:
    """Mean over leaving one annotator out of min(1, others who agree / 3)."""
    if len(answers) < 2:
        raise FilaError(f"answers: VQA accuracy leaves one annotator out, so it needs at least 2 answers, not {len(answers)}")
    said = normal(prediction)
    agree = [normal(answer) == said for answer in answers]
    total = sum(agree)
    return sum(min(1.0, (total - own) / ENOUGH) for own in agree) / len(agree)
