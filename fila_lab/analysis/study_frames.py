"""A study's folder, running or published, as tidy pandas frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fila_lab.analysis.cell_frame import cell_frame, pair_of
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.item_page import Draw, item_answers, item_figure
from fila_lab.analysis.score_frame import score_frame
from fila_lab.analysis.style import ArmStyle, arm_styles
from fila_lab.config.cell_checks import PREDICTION_COLUMNS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANSWERED = ("arm", "seed", "pair", "id", "prediction", "score", "correct")
"""Columns of predictions that are a cell's, not the item's."""


@dataclass(frozen=True)
class StudyFrames:
    """The frames of one study, each made when it is first asked for, and kept. Made by `load`.

    Every frame has the arms in the study's order, shares between 0 and 1, and a column `pair`, the number of the tower pair (0 where
    there is one), wherever it has a seed. What cells do not have is missing (NaN, None): frames of a running study hold its finished
    cells, and `cells` all.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> list(study.scores.columns)
        ['arm', 'seed', 'pair', 'task', 'place', 'metric', 'value']
        >>> study.cells.groupby("arm", sort=False)["seed"].nunique().index.tolist()
        ['none', 'concat']
    """

    folder: StudyFolder

    @cached_property
    def findings(self) -> Findings:
        """All else that follows from the folder: self-checks, subgroups, gaps, alarms. Raises FilaError while no main cell is finished."""
        return Findings.of(self.folder)

    @property
    def question(self) -> str:
        return self.folder.study.question

    @property
    def metric(self) -> str:
        """The primary metric's name, which is a column of `cells`."""
        return self.folder.study.metric

    @property
    def styles(self) -> Mapping[str, ArmStyle]:
        """Arm -> colour, marker and label, as in reports."""
        return arm_styles(self.folder)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row a main cell of the plan: arm, seed, pair, role, label, id, status (done, failed, damaged, missing); a column a factor of
        the study's grid, a column a field of the run in which arms differ, by its dotted path (lists as JSON); steps (taken; of cells that
        are not finished, planned), learning_rate, seconds (the whole cell's), and the primary metric by its name."""
        return cell_frame(self.folder)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Long: a row a finished cell and metric. arm, seed, pair, task, place ("" is over all places), metric (a score, or seam_gap, n,
        ...), value. Task `mean` is the mean over tasks. Raises FilaError while no main cell is finished."""
        return score_frame(self._with_pair(self.findings.frame), self.folder.arms)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """A row an arm: arm, role, label, parameters, trainable_parameters, fusion_parameters, flops (a forward pass on the largest
        canvas), latency_ms (median) and latency_iqr_ms, peak_memory_mib; NaN where not measured."""
        costs = self.findings.costs.reset_index()
        costs.insert(1, "role", [self.folder.study.arms[arm].role for arm in costs["arm"]])
        costs.insert(2, "label", [self.folder.label(arm) for arm in costs["arm"]])
        return costs

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """A row an answer: arm, seed, pair, id (of the cell), item_id, task, place, question, answer (what is right), prediction, correct,
        and what else is known of the item. Without rows where no cell has readable predictions."""
        findings = self.findings.predictions
        return self._with_pair(findings if findings is not None else pd.DataFrame(columns=["arm", "seed", "id", *PREDICTION_COLUMNS]))

    @cached_property
    def items(self) -> pd.DataFrame:
        """A row a test item and place: item_id, task, place, question, answer, image_id, and what else is known of it; `answers`, how many
        cells answered it, and `right`, the share of these that were right."""
        asked = self.predictions
        keys = ["item_id", "place"]
        own = asked[[name for name in asked.columns if name not in ANSWERED]].drop_duplicates(keys)
        told = asked.groupby(keys, observed=True, sort=False)["correct"].agg(["size", "mean"]).set_axis(["answers", "right"], axis=1)
        return own.merge(told.reset_index(), on=keys, how="left").reset_index(drop=True)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """The verdict table: a row a declared contrast and family, as `judge` says it. Raises FilaError while no main cell is finished."""
        return self.findings.verdicts

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a logged step of a finished cell: arm, seed, pair, id, step, loss, learning_rate, validation, validation_loss."""
        return self._with_pair(self.findings.curves)

    def show(self, item: str, draw: Draw | None = None) -> Figure:
        """An item's page at each of its places, and below it what every arm answered there, most often and at how many seeds right.

        Pages are not kept with results. `fila_lab.draw_item` as `draw` draws them anew from the item's identity; without it the answers
        stand alone.

        Args:
            item: its item_id.
            draw: (folder, item_id) -> picture by place.

        Raises:
            FilaError: no cell answered such an item, or its page cannot be drawn.

        Example:
            >>> study = load("experiments/results/remove_fusion")
            >>> figure = study.show(study.items["item_id"].iloc[0])
            >>> len(figure.axes)
            1
        """
        answers = item_answers(self.predictions, item, self.folder)
        return item_figure(answers, draw(self.folder.out, item) if draw is not None else {}, self.styles)

    def _with_pair(self, frame: pd.DataFrame) -> pd.DataFrame:
        if "pair" in frame:
            return frame
        whole = frame.copy(deep=False)
        whole.insert(list(whole.columns).index("seed") + 1, "pair", pair_of(self.folder, frame["seed"]))
        return whole


def load(out: Path | str | StudyFolder | Findings) -> StudyFrames:
    """A study's folder as tidy frames: one that runs as it is at this moment, one that is finished, or published results.

    Raises:
        FilaError: there is no readable plan in it.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> study.metric in study.cells
        True
        >>> study.contrasts[["a", "b"]].values.tolist()
        [['concat', 'none']]
    """
    if isinstance(out, Findings):
        study = StudyFrames(out.folder)
        study.__dict__["findings"] = out  # what was computed of them is not computed again
        return study
    return StudyFrames(StudyFolder.open(out))
