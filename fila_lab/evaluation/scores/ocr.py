"""OCRBench: an answer stands in the prediction; formulas (HME100k) keep their case and lose their spaces."""

from __future__ import annotations

from typing import Any

from fila_lab.evaluation.scores.base import score
from fila_lab.evaluation.scores.texts import contains, within

FORMULAS = "HME100k"
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}


@score("ocrbench", known=("dataset",))
def ocrbench(prediction: str, answers: tuple[str, ...], dataset: Any) -> float:
    """OCRBench in lmms-eval: full-width letters and spaces count as their plain forms."""
    return ocrbench_original(prediction.translate(_FULL_WIDTH), tuple(answer.translate(_FULL_WIDTH) for answer in answers), dataset)


@score("ocrbench_original", known=("dataset",))
def ocrbench_original(prediction: str, answers: tuple[str, ...], dataset: Any) -> float:
    """OCRBench's own rule. An empty answer, which stands in everything there, stands in an empty prediction only."""
    if dataset != FORMULAS:
        return contains(prediction, answers)
    return within(_spaceless(prediction), [_spaceless(answer) for answer in answers])


def _spaceless(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
