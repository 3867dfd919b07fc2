"""Opening and completing the MLflow mirror of a folder (`fila_lab.studies.mirror.mirror`), and what is said when that cannot be done.

`sync` may be called at any time and any number of times: it adds what is missing, whoever computed it, and replaces what is outdated or
was left unfinished by a killed driver.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.config.faults import machine_fault
from fila_lab.config.files import file_lock
from fila_lab.studies.address import masked
from fila_lab.studies.folder import read_plan
from fila_lab.studies.mirror.address import address_of, check_address
from fila_lab.studies.mirror.database import DATABASE, LOCK
from fila_lab.studies.mirror.mirror import Mirror
from fila_lab.studies.mirror.parents import Heading


def sync(root: Path, uri: str | None = None) -> int:
    """Complete the mirror of a study's folder.

    Returns:
        The number of cells added or made anew.

    Raises:
        FilaError: no study in the folder, nobody at the URI, or what MLflow says, with what to do.
    """
    root = Path(root)
    plan = read_plan(root)
    if plan is None:
        raise FilaError(f"--out: {root} holds no plan.json; name the folder of a study that has been run")
    with writing(root, uri):
        return Mirror(root, uri, Heading.of(plan)).complete(plan["cells"])


@contextmanager
def writing(root: Path, uri: str | None) -> Iterator[None]:
    """Holds the mirror's lock, for two writers at a time would add the same cell twice, and makes one message of whatever MLflow passes on
    from SQLAlchemy, SQLite, requests and the file system.

    Raises:
        FilaError: with what to do.
    """
    if uri is not None:
        check_address(uri)
    try:
        with file_lock(root / LOCK):
            prepare_mlflow()
            yield
    except FilaError:
        raise
    except Exception as error:
        address = address_of(uri or "")
        what = f"{address.option}: {masked(uri)}" if uri is not None else str(root / DATABASE)
        if (fault := machine_fault(error)) is not None:
            remedy = f"then give `fila-lab sync {root}` again"
            raise FilaError(f"{what}: the mirror cannot be completed ({fault.kind}); mend that, {remedy}") from error
        said = address.hide(" ".join(str(error).split()))[:300] or type(error).__name__
        remedy = (
            "see that an MLflow server or database is there and can be written" if uri else "mend it, or move it away to have it made anew"
        )
        raise FilaError(f"{what}: the mirror cannot be completed ({said}); {remedy}, then give `fila-lab sync {root}` again") from error


def prepare_mlflow() -> None:
    """Import MLflow, which takes a second, quiet and without patience for a server that does not answer."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    import mlflow.tracking  # noqa: F401

    # mlflow sets its own level when it is imported.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
