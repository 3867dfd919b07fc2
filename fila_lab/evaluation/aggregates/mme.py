"""MME: two questions an image; accuracy and accuracy+ in percent, a category up to 200, categories added up."""

from __future__ import annotations

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.evaluation.aggregates.base import Scored, register_aggregate

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


@register_aggregate("mme")
def mme(scored: Scored) -> dict[str, float]:
    """`mme_perception_score` (of 2,000) and `mme_cognition_score` (of 800) where any of their categories is there; of each category its
    score, `acc` and `acc_plus`, in percent. An image with one question only is left out and counted: there is no accuracy+ of it.

    Columns: category, question_id (equal for the two questions of an image).
    """
    rows = scored.need("category", "question_id")
    if unknown := sorted(set(rows["category"]) - {*PERCEPTION, *COGNITION}):
        near = did_you_mean(str(unknown[0]), (*PERCEPTION, *COGNITION))
        raise FilaError(f"category = {unknown[0]!r} is none of MME's{near}; they are {', '.join((*PERCEPTION, *COGNITION))}")
    images = rows.groupby(["category", "question_id"], sort=True)["score"].agg(["sum", "size"]).reset_index()
    pairs = images[images["size"] == 2]
    figures: dict[str, float] = {}
    for name, categories in (("mme_perception_score", PERCEPTION), ("mme_cognition_score", COGNITION)):
        own = [category for category in categories if (pairs["category"] == category).any()]
        for category in own:
            right = pairs.loc[pairs["category"] == category, "sum"]
            figures[f"acc/{category}"] = float(right.mean() / 2 * 100)
            figures[f"acc_plus/{category}"] = float((right == 2).mean() * 100)
            figures[f"mme/{category}"] = figures[f"acc/{category}"] + figures[f"acc_plus/{category}"]
        if own:
            figures[name] = sum(figures[f"mme/{category}"] for category in own)
    if len(pairs) < len(images):
        figures["images_without_two_questions"] = float(len(images) - len(pairs))
    return figures
