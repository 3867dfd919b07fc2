"""Yes or no, as MME and POPE read it."""

from __future__ import annotations

from fila_lab.evaluation.scores.base import score


@score("mme")
def mme(prediction: str, answers: tuple[str, ...]) -> float:
    """MME: equal once both are read by `mme_parse`."""
    return mme_parse(prediction) in {mme_parse(answer) for answer in answers}


@score("pope_original")
def pope_original(prediction: str, answers: tuple[str, ...]) -> float:
    """POPE: what is not a no is a yes."""
    return pope_parse(prediction) in {_plain(answer) for answer in answers}


@score("pope_lmms_eval")
def pope_lmms_eval(prediction: str, answers: tuple[str, ...]) -> float:
    """POPE in lmms-eval: yes or no and nothing else, letter case and white space around it aside."""
    return _plain(prediction) in {_plain(answer) for answer in answers}


def mme_parse(text: str) -> str:
    """`yes`, `no` or `other`: by one letter, or by what stands in the first four characters, so that `yesterday` is a yes."""
    said = text.lower().strip().replace(".", "")
    if len(said) == 1:
        return {"y": "yes", "n": "no"}.get(said, "other")
    return "yes" if "yes" in said[:4] else "no" if "no" in said[:4] else "other"


def pope_parse(text: str) -> str:
    """`no` where No, no or not is a word of the first sentence, else `yes`."""
    words = text.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def _plain(text: str) -> str:
    return text.lower().strip()
