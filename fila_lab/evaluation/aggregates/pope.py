"""POPE: a detector's figures, by two definitions that differ in what they make of other texts than yes and no."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.evaluation.aggregates.base import Scored, register_aggregate
from fila_lab.evaluation.scores.yes_no import pope_parse

FIGURES = ("accuracy", "precision", "recall", "f1_score", "yes_ratio")


@register_aggregate("pope_original")
def pope_original(scored: Scored) -> dict[str, float]:
    """POPE's own: every prediction is read as yes or no; `yes_ratio` is over predictions. A figure without a denominator (nobody said yes)
    is 0, where its script divides by zero."""
    return _by_category(scored, pope_parse, of_predictions=True)


@register_aggregate("pope_lmms_eval")
def pope_lmms_eval(scored: Scored) -> dict[str, float]:
    """lmms-eval's: a prediction that is not exactly yes or no is wrong, and counts for neither precision nor recall; `yes_ratio` is over
    the truth."""
    return _by_category(scored, lambda text: text.lower().strip(), of_predictions=False)


def _by_category(scored: Scored, read: Callable[[str], str], of_predictions: bool) -> dict[str, float]:
    """Figures of all rows, of each category (random, popular, adversarial), and `<figure>/mean` over the categories, as papers give it."""
    rows = pd.DataFrame({"said": scored.rows["prediction"].map(read), "truth": scored.rows["answers"].map(_truth)})
    figures = _figures(rows, of_predictions)
    if "category" not in scored.rows:
        return figures
    categories = scored.rows["category"]
    each = {str(name): _figures(rows[categories == name], of_predictions) for name in sorted(categories.dropna().unique())}
    for figure in FIGURES if each else ():
        figures |= {f"{figure}/category={name}": own[figure] for name, own in each.items()}
        figures[f"{figure}/mean"] = sum(own[figure] for own in each.values()) / len(each)
    return figures


def _figures(rows: pd.DataFrame, of_predictions: bool) -> dict[str, float]:
    said, truth = rows["said"], rows["truth"]
    hits = int(((said == "yes") & (truth == "yes")).sum())
    precision = _share(hits, hits + int(((said == "yes") & (truth == "no")).sum()))
    recall = _share(hits, hits + int(((said == "no") & (truth == "yes")).sum()))
    counted = said if of_predictions else truth
    figures = (
        _share(int((said == truth).sum()), len(rows)),
        precision,
        recall,
        2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        _share(int((counted == "yes").sum()), int(counted.isin(["yes", "no"]).sum())),
    )
    return dict(zip(FIGURES, figures, strict=True))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _truth(answers: tuple[str, ...]) -> str:
    truth = answers[0].lower().strip()
    if truth not in ("yes", "no"):
        raise FilaError(f"answers = {list(answers)}: POPE's answers are yes and no; check which benchmark this is")
    return truth
