"""Everything a report or the terminal says about one study, computed once from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import fila_lab
from fila_lab.analysis import frame as frames
from fila_lab.analysis.bootstrap import GapInterval, clustered_gap, triplet_table
from fila_lab.analysis.check import Check
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.pairs import PairContrasts
from fila_lab.analysis.searched import searched_at
from fila_lab.analysis.selfcheck import check_study
from fila_lab.analysis.style import tasks_of
from fila_lab.analysis.subgroups import Subgroups
from fila_lab.analysis.sweep import SweepFindings
from fila_lab.analysis.trials_file import read_trials_file
from fila_lab.analysis.verdicts import judge
from fila_lab.config.base import FilaError
from fila_lab.config.instruments import FIRST, NOTE

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """A study's frame and, on demand, all that follows from it and from the predictions. Made by `Findings.of(out)`.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> found.metric, found.tasks
        ('exact/reading/cut', ['reading', 'coarse'])
    """

    folder: StudyFolder
    frame: pd.DataFrame
    _kept: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[[Findings], T]) -> T:
        """What `make` says of these findings, computed at the first time."""
        if make not in self._kept:
            self._kept[make] = make(self)
        kept: T = self._kept[make]
        return kept

    def published(self, folder: Path | None = None) -> Findings | None:
        """What `find_published` finds beside these findings, read at the first time."""
        if ("published", folder) not in self._kept:
            self._kept["published", folder] = find_published(self.folder, folder)
        kept: Findings | None = self._kept["published", folder]
        return kept

    @staticmethod
    def of(out: Path | str | StudyFolder | Findings) -> Findings:
        """Errors: FilaError as in `load_study_frame`; where a sweep has begun, its trials can be told before a main cell is done."""
        if isinstance(out, Findings):
            return out
        folder = StudyFolder.open(out)
        if any(cell.done for cell in folder.main) or read_trials_file(folder.out) is None:
            return Findings(folder, frames.load_study_frame(folder))
        frame = pd.DataFrame(columns=["arm", "seed", "id", folder.study.metric]).astype({folder.study.metric: float})
        frame.attrs["notes"] = folder.notes()
        return Findings(folder, frame)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row a declared contrast, self-checks taken into account. Errors: FilaError as in `judge`."""
        study = self.folder.study
        return judge(self.frame, study.families, study.metric, study.margin, self.predictions, self.checks)

    @cached_property
    def subgroups(self) -> Subgroups:
        """The contrasts by kinds of items, of families that declare `by`."""
        study = self.folder.study
        wanted = any(family.by for family in study.families.values())
        return Subgroups.of(self.predictions if wanted else None, study.families, study.metric, self.checks if wanted else ())

    @cached_property
    def pairs(self) -> PairContrasts:
        """The contrasts pair by pair, where seeds are spread over tower pairs."""
        study = self.folder.study
        return PairContrasts.of(self.frame, study.families, study.metric, self.checks if self.folder.tower_pairs else ())

    @property
    def metric(self) -> str:
        return self.folder.study.metric

    @property
    def tasks(self) -> list[str]:
        return tasks_of(list(self.frame.columns), self.metric)

    @property
    def measured_on(self) -> str:
        """Stands in every table's caption, so that no number travels without it."""
        return f"{self.preset}, {self._towers}"

    @property
    def preset(self) -> str:
        """The preset's name, which does not stand alone where its towers are no longer today's."""
        name = self.folder.study.preset
        return f"{name} ({FIRST})" if self.folder.first_instrument else name

    @property
    def instrument(self) -> str:
        """What a reader is told first of results of the first instrument; nothing of others."""
        return NOTE if self.folder.first_instrument else ""

    @property
    def limits(self) -> str:
        preset = self.folder.study.preset
        named = self.preset.replace(preset, f"`{preset}`", 1)
        return f"Measured on {named}, with {self._towers}; it says nothing about {'other presets' if preset == 'paper' else '`paper`'}."

    @property
    def _towers(self) -> str:
        """Over how many tower pairs the study speaks: those that a finished cell started from."""
        there = self.frame["pair"].nunique() if "pair" in self.frame else 1
        return "one pair of towers" if there == 1 else f"{there} tower pairs"

    @property
    def testable(self) -> bool:
        """Whether some contrast has seeds enough for a test, and sides that can be compared."""
        return bool((~self.verdicts["verdict"].isin(("not testable", "not comparable"))).any())

    @cached_property
    def manifests(self) -> pd.DataFrame:
        return frames.load_manifests(self.folder)

    @cached_property
    def curves(self) -> pd.DataFrame:
        return frames.load_curves(self.folder)

    @cached_property
    def costs(self) -> pd.DataFrame:
        return frames.load_costs(self.folder)

    @cached_property
    def sweep(self) -> SweepFindings | None:
        """None where no sweep has begun. Raises FilaError where its trials are damaged."""
        return SweepFindings.of(self.folder, self.costs)

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        try:
            return frames.load_predictions(self.folder)
        except FilaError:
            return None

    @cached_property
    def triplets(self) -> pd.DataFrame:
        return pd.DataFrame() if self.predictions is None else triplet_table(self.predictions)

    @cached_property
    def gaps(self) -> dict[tuple[str, str, str], GapInterval]:
        """(arm, task, "seam" | "sham") -> gap with its interval over test images."""
        found = {}
        if not self.triplets.empty:
            for (arm, task), own in self.triplets.groupby(["arm", "task"]):
                found[str(arm), str(task), "seam"] = clustered_gap(own, "sham", "cut")
                found[str(arm), str(task), "sham"] = clustered_gap(own, "intact", "sham")
        return found

    @cached_property
    def checks(self) -> list[Check]:
        """What the laboratory checked on itself, for the report and for the verdicts."""
        return check_study(self.folder, self.frame, self.predictions, self.manifests)

    @cached_property
    def searched_values(self) -> dict[str, dict[str, Any]]:
        """Per arm the values its main cells ran with at the searched paths: read from their configs, so true under every budget."""
        space = self.folder.study.tuning.dimensions if self.folder.study.tuning else {}
        values: dict[str, dict[str, Any]] = {}
        for cell in self.folder.main if space else ():
            config = (cell.result or {}).get("config") or cell.config
            values.setdefault(cell.arm, {path: searched_at(config, path, one) for path, one in space.items()})
        return values

    @property
    def notes(self) -> list[str]:
        unread = list(self.predictions.attrs.get("notes", [])) if self.predictions is not None else []
        return list(dict.fromkeys([*self.folder.notes(), *self.frame.attrs.get("notes", []), *unread]))


def find_published(folder: StudyFolder, published: Path | None = None) -> Findings | None:
    """The committed results of the same study: `published`, else experiments/results/<study> near the folder, the cwd or the repo.

    None when there are none, or when they are `folder` itself or (part of) the same cells: a run says nothing beside its own copy.
    Errors: FilaError when a folder named explicitly cannot be read.

    Example:
        >>> out = "experiments/results/remove_fusion"
        >>> find_published(StudyFolder.open(out)) is None  # it is the published one itself
        True
    """
    inside = Path("experiments") / "results" / folder.study.name
    starts = [*folder.out.resolve().parents, Path.cwd(), Path(fila_lab.__file__).resolve().parents[1]]
    candidates = [published] if published is not None else [start / inside for start in starts]
    for candidate in candidates:
        if candidate.resolve() == folder.out.resolve():
            return None
        if published is not None or (candidate / "plan.json").exists():
            try:
                findings = Findings.of(candidate)
            except FilaError:
                if published is not None:
                    raise
                continue
            own = {cell.id for cell in folder.main}
            return findings if published is not None or not {cell.id for cell in findings.folder.main if cell.done} <= own else None
    return None
