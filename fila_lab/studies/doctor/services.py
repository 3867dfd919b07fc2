"""Tracking and a sweep's storage: whether each opens a database of its own. Imports MLflow and Optuna."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from fila_lab.studies.doctor.finding import Finding, looked


def tracking() -> list[Finding]:
    """MLflow opens a database."""
    return looked(
        "tracking", _tracking, "pip install --upgrade mlflow sqlalchemy; without it, studies run all the same (`fila-lab sync` later)"
    )


def _tracking() -> list[Finding]:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        client = mlflow.MlflowClient(f"sqlite:///{Path(folder) / 'mlflow.db'}")
        client.create_experiment("probe", artifact_location=folder)
    return [Finding("tracking", "ok", f"MLflow {mlflow.__version__} makes and opens a SQLite database")]


def storage() -> list[Finding]:
    """Optuna opens a database."""
    return looked("sweep storage", _storage, "pip install --upgrade optuna sqlalchemy")


def _storage() -> list[Finding]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(storage=f"sqlite:///{Path(folder) / 'optuna.db'}", study_name="probe")
        study.tell(study.ask(), 0.0)
    return [Finding("sweep storage", "ok", f"Optuna {optuna.__version__} makes and opens a SQLite database")]
