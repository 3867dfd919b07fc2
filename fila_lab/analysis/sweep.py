"""What a sweep found, computed once from its folder: trials, front, hypervolume, importance of fields, the front on fresh seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from fila_lab.analysis.confirmed import ConfirmedFront
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.front import box, hypervolume_history, reference_point
from fila_lab.analysis.importance import importances
from fila_lab.analysis.trials import below_front, trials_frame
from fila_lab.analysis.trials_file import TrialEntry, TrialsFile, read_trials_file
from fila_lab.config.space import choice_text


@dataclass(frozen=True)
class SweepFindings:
    """Made by `SweepFindings.of(folder, costs)`.

    Example:
        >>> sweep = Findings.of("experiments/results/accuracy_cost").sweep
        >>> len(sweep.trials) == sum(sweep.counts.values())
        True
    """

    folder: StudyFolder
    file: TrialsFile
    confirmed: ConfirmedFront

    @staticmethod
    def of(folder: StudyFolder, costs: pd.DataFrame) -> SweepFindings | None:
        """None where no sweep has begun. costs: as of `load_costs`.

        Raises:
            FilaError: its trials are damaged.
        """
        file = read_trials_file(folder.out)
        return None if file is None else SweepFindings(folder, file, ConfirmedFront(folder, file, costs))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """As of `load_trials`."""
        return trials_frame(self.file)

    @cached_property
    def parameters(self) -> dict[int, dict[str, Any]]:
        """Number of a trial -> searched field -> its value as a cell of a frame; None where it was not active."""
        paths = list(self.file.search.space)
        return dict(zip(self.trials["number"], self.trials[paths].to_dict("records"), strict=True))

    @cached_property
    def dominated(self) -> pd.DataFrame:
        """As of `below_front`."""
        return below_front(self.file)

    @cached_property
    def counts(self) -> Counter[str]:
        """State -> number of trials."""
        return Counter(trial.state for trial in self.file.trials)

    @property
    def several(self) -> bool:
        """Whether there is a front rather than one best trial."""
        return len(self.file.objectives) > 1

    @cached_property
    def points(self) -> tuple[TrialEntry, ...]:
        """The front's trials without repetitions: of those that have the same values as one that became an arm, only that one; of those
        that are the same run, the first."""
        armed = set(self.file.arms.values())
        values = {trial.values for trial in self.file.best if trial.number in armed}
        kept: dict[str, TrialEntry] = {}
        for trial in self.file.best:
            if trial.number in armed:
                kept[choice_text(trial.parameters)] = trial
            elif trial.values not in values:
                kept.setdefault(choice_text(trial.parameters), trial)
        return tuple(kept.values())

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Arms made of the front of which no main cell is done."""
        return tuple(arm for arm in self.file.arms if arm not in self.confirmed.cells)

    @property
    def axes(self) -> tuple[str, tuple[str, ...]]:
        """What figures draw upwards (the first metric, else the first objective), and what they draw it against."""
        up = next(iter(self.file.metrics), self.file.names[0])
        return up, tuple(name for name in self.file.names if name != up)

    def direction(self, name: str) -> Literal["maximize", "minimize"]:
        return self.file.directions[self.file.names.index(name)]

    @cached_property
    def reference(self) -> np.ndarray:
        """The point that hypervolume is measured from, [objectives]; there must be a complete trial."""
        return reference_point(self.file.values(self.file.finished), self.file.directions)

    @cached_property
    def hypervolume(self) -> pd.DataFrame:
        """One row a complete trial in order of number: number, hypervolume (in the product of the objectives' units), share (of the box
        between the reference point and the best value in every objective)."""
        values = self.file.values(self.file.finished)
        if not len(values):
            return pd.DataFrame(columns=["number", "hypervolume", "share"])
        history = hypervolume_history(values, self.file.directions, self.reference)
        whole = box(values, self.file.directions, self.reference)
        return pd.DataFrame({"number": [trial.number for trial in self.file.finished], "hypervolume": history, "share": history / whole})

    @cached_property
    def importance(self) -> pd.DataFrame:
        """As of `importances`, one objective below the other, named in the column `objective`."""
        space, parameters = self.file.dimensions(), [trial.parameters for trial in self.file.finished]
        columns = self.file.values(self.file.finished).T
        parts = [
            importances(parameters, list(column), space).assign(objective=name)
            for name, column in zip(self.file.names, columns, strict=True)
        ]
        whole = pd.concat(parts, ignore_index=True)
        return whole[["objective", *(name for name in whole.columns if name != "objective")]]
