"""ChartQA's relaxed accuracy."""

from __future__ import annotations

from fila_lab.evaluation.scores.base import score

TOLERANCE = 0.05


@score("relaxed")
def relaxed(prediction: str, answers: tuple[str, ...]) -> float:
    """Numbers within 5 % of the target, relative to it, percentages as shares; all else, and a target of 0, as text in lower case.

    So years five centuries apart can agree, and `$10`, `1,000` and `5` for `5%` do not.
    """
    return any(_relaxed(prediction, answer) for answer in answers)


def _relaxed(prediction: str, target: str) -> bool:
    said, meant = _number(prediction), _number(target)
    if said is not None and meant:
        return abs(said - meant) / abs(meant) <= TOLERANCE
    return prediction.lower() == target.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
