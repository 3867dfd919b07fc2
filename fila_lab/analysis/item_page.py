"""One test item: its page at each of its places, and what every arm answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.gallery import Answer, answers_of
from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.data import FURTHER_PLACES, PLACES

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from fila_lab.analysis.style import ArmStyle

Draw = Callable[[Path, str], Mapping[str, "Image.Image"]]
"""(a study's folder, item_id) -> picture of the item's page by place: `fila_lab.draw_item`. This room draws no pages."""

ANYWHERE = "page"
"""What the one place of items without places is called."""
LONGEST = 60
"""Characters of a question, an answer, that are shown."""


@dataclass(frozen=True)
class ItemAnswers:
    """What was asked of one item, and what was answered: arm -> place -> its most frequent answer over seeds."""

    item_id: str
    task: str
    question: str
    answer: str
    answers: dict[str, dict[str, Answer]]
    labels: dict[str, str]

    @property
    def places(self) -> list[str]:
        """In the order of reports."""
        there = {place for own in self.answers.values() for place in own}
        return [place for place in ("", *PLACES, *FURTHER_PLACES) if place in there]


def item_answers(predictions: pd.DataFrame, item: str, folder: StudyFolder) -> ItemAnswers:
    """What all arms answered. Errors: FilaError where no cell answered such an item."""
    rows = predictions[predictions["item_id"] == item]
    if rows.empty:
        known = [str(one) for one in predictions["item_id"].unique()]
        remedy = (
            f"; the first is {known[0]}, and `items` of the study's frames lists all" if known else ": no cell has readable predictions"
        )
        raise FilaError(f"item {item!r}: not among the {len(known)} items of {folder.out}{did_you_mean(item, known)}{remedy}")
    first = rows.iloc[0]
    answers = answers_of(rows, folder.arms, ("", *PLACES, *FURTHER_PLACES))
    labels = {arm: folder.label(arm) for arm in answers}
    return ItemAnswers(item, str(first["task"]), str(first.get("question", "")), str(first.get("answer", "")), answers, labels)


def item_figure(item: ItemAnswers, pictures: Mapping[str, Image.Image], styles: Mapping[str, ArmStyle]) -> Figure:
    """The pictures side by side where there are some, and a table: a row an arm, a column a place, coloured by the share of seeds right."""
    import matplotlib
    from matplotlib.figure import Figure

    from fila_lab.analysis.style import RC

    places = item.places
    drawn = [place for place in places if place in pictures]
    below = 0.55 + 0.3 * (len(item.answers) + 1)
    width = max(7.2, 2.6 * len(places))
    tallest = max((pictures[place].height / pictures[place].width for place in drawn), default=0.0)
    above = min(3.2, 0.5 + width / len(drawn) * tallest) if drawn else 0.3
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(width, above + below), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=(above, below)) if drawn else (None, figure)
        head, foot = parts
        if head is not None:
            for axes, place in zip(head.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
                axes.imshow(pictures[place])
                axes.set_title(place or ANYWHERE)
                axes.set_axis_off()
        _table(foot.subplots(), item, places, styles)
        figure.suptitle(plot_text(f"{item.item_id}, {item.task}: {_short(item.question)} → {_short(item.answer)}"), fontsize=10)
    return figure


def _table(axes: Any, item: ItemAnswers, places: list[str], styles: Mapping[str, ArmStyle]) -> None:
    from matplotlib import colormaps

    shade = colormaps["cividis"]
    cells, colours, inks = [], [], []
    for own in item.answers.values():
        there = [own.get(place) for place in places]
        shares = [answer.right / answer.seeds if answer is not None else 0.0 for answer in there]
        cells.append(
            [plot_text(f"{_short(one.text) or '(nothing)'}   {one.right}/{one.seeds}") if one is not None else "–" for one in there]
        )
        colours.append([shade(0.25 + 0.75 * share) if one is not None else "white" for share, one in zip(shares, there, strict=True)])
        inks.append(["white" if one is not None and share < 0.4 else "black" for share, one in zip(shares, there, strict=True)])
    axes.set_axis_off()
    table = axes.table(
        cellText=cells,
        cellColours=colours,
        rowLabels=[plot_text(item.labels[arm]) for arm in item.answers],
        colLabels=[place or ANYWHERE for place in places],
        cellLoc="center",
        bbox=(0.0, 0.0, 1.0, 1.0),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("white")
        if row > 0 and column >= 0:
            cell.get_text().set_color(inks[row - 1][column])
        elif row > 0 and (style := styles.get(list(item.answers)[row - 1])) is not None:
            cell.get_text().set_color(style.colour)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
