"""From a folder of results to numbers, verdicts, plots and a report; importing it is light, pandas and matplotlib load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fila_lab.analysis.alarms import Alarm, find_alarms
    from fila_lab.analysis.bootstrap import GapInterval, clustered_gap
    from fila_lab.analysis.check import Check
    from fila_lab.analysis.findings import Findings, find_published
    from fila_lab.analysis.folder import Skipped, StudyFolder
    from fila_lab.analysis.frame import failures, load_costs, load_curves, load_manifests, load_predictions, load_study_frame, load_tuning
    from fila_lab.analysis.headline import headline_of
    from fila_lab.analysis.report import write_report
    from fila_lab.analysis.selfcheck import aa_rate
    from fila_lab.analysis.signatures import check_signatures
    from fila_lab.analysis.statistics import holm, paired_interval, probability_greater, sign_flip, tost
    from fila_lab.analysis.subgroups import Subgroups
    from fila_lab.analysis.tables import arms_table, per_seed_table
    from fila_lab.analysis.terminal import terminal_summary
    from fila_lab.analysis.verdicts import judge
    from fila_lab.config.power import minimal_detectable_effect, power, seeds_for_effect, seeds_needed

_HOMES = {
    "Alarm": "alarms",
    "find_alarms": "alarms",
    "Check": "check",
    "headline_of": "headline",
    "Findings": "findings",
    "find_published": "findings",
    "StudyFolder": "folder",
    "Skipped": "folder",
    "load_study_frame": "frame",
    "load_predictions": "frame",
    "load_tuning": "frame",
    "load_curves": "frame",
    "load_costs": "frame",
    "load_manifests": "frame",
    "failures": "frame",
    "sign_flip": "statistics",
    "paired_interval": "statistics",
    "holm": "statistics",
    "tost": "statistics",
    "probability_greater": "statistics",
    "clustered_gap": "bootstrap",
    "GapInterval": "bootstrap",
    "power": "fila_lab.config.power",
    "minimal_detectable_effect": "fila_lab.config.power",
    "seeds_for_effect": "fila_lab.config.power",
    "seeds_needed": "fila_lab.config.power",
    "judge": "verdicts",
    "Subgroups": "subgroups",
    "aa_rate": "selfcheck",
    "arms_table": "tables",
    "per_seed_table": "tables",
    "write_report": "report",
    "check_signatures": "signatures",
    "terminal_summary": "terminal",
}

__all__ = [
    "Alarm",
    "Check",
    "Findings",
    "GapInterval",
    "Skipped",
    "StudyFolder",
    "Subgroups",
    "aa_rate",
    "arms_table",
    "check_signatures",
    "clustered_gap",
    "failures",
    "find_alarms",
    "find_published",
    "headline_of",
    "holm",
    "judge",
    "load_costs",
    "load_curves",
    "load_manifests",
    "load_predictions",
    "load_study_frame",
    "load_tuning",
    "minimal_detectable_effect",
    "paired_interval",
    "per_seed_table",
    "power",
    "probability_greater",
    "seeds_for_effect",
    "seeds_needed",
    "sign_flip",
    "terminal_summary",
    "tost",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        home = _HOMES[name]
        return getattr(importlib.import_module(home if "." in home else f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
