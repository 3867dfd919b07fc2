"""Plan, run and watch studies: the plan, the folder of results, engines, tuning, and the MLflow mirror. Names load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fila_lab.studies.folder import default_cache, default_out
    from fila_lab.studies.lock import Shard
    from fila_lab.studies.plan import CellSpec, Plan, make_plan
    from fila_lab.studies.runner import run_plan, run_study
    from fila_lab.studies.status import StudyStatus, study_status
    from fila_lab.studies.store import ResultStore
    from fila_lab.studies.tracking import sync

_HOMES = {
    "CellSpec": "plan",
    "Plan": "plan",
    "ResultStore": "store",
    "Shard": "lock",
    "StudyStatus": "status",
    "default_cache": "folder",
    "default_out": "folder",
    "make_plan": "plan",
    "run_plan": "runner",
    "run_study": "runner",
    "study_status": "status",
    "sync": "tracking",
}

__all__ = [
    "CellSpec",
    "Plan",
    "ResultStore",
    "Shard",
    "StudyStatus",
    "default_cache",
    "default_out",
    "make_plan",
    "run_plan",
    "run_study",
    "study_status",
    "sync",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
