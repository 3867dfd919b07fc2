"""The mirrors of a phase's searches: completed where a replay has come to, then kept up while cells run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fila_lab.studies.searches.search import Search, Trial
from fila_lab.studies.searches.trial_database import TrialDatabase
from fila_lab.studies.searches.trial_mirror import TrialMirror


class TrialMirrors:
    """One Optuna study a search: named by the key, and by the arm where each has its own.

    Raises:
        FilaError: the user's database cannot be used, or a name is somebody else's there.
    """

    def __init__(self, root: Path, folder: str, searches: Mapping[str, Search], key: str, by_arm: bool, url: str | None = None) -> None:
        database = TrialDatabase(root, root / folder, url)
        self.searches = searches
        self.mirrors = {
            arm: TrialMirror(
                database,
                f"{key}/{arm}" if by_arm else key,
                {objective.name: objective.direction for objective in search.objectives},
                search.distributions,
            )
            for arm, search in searches.items()
        }

    def catch_up(self) -> None:
        """Show what a replay has come to; nothing where a search that has ended is there already."""
        for arm, search in self.searches.items():
            if not (search.ended and self.mirrors[arm].holds(search.trials)):
                self.show(arm, search.trials)

    def show(self, arm: str, trials: Sequence[Trial]) -> None:
        """Show trials of a search as they are now."""
        for trial in trials:
            self.mirrors[arm].show(trial)
        if self.searches[arm].ended:
            self.mirrors[arm].finish()
