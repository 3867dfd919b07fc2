"""`ui`: MLflow's own pages on a study's mirror."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.cli.options import BudgetName, Folder, Out, result_folder
from fila_lab.config.base import ConfigError, FilaError

ENDING_SECONDS = 2.0


def ui(
    study: Folder,
    budget: BudgetName = None,
    out: Out = None,
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Open MLflow's pages on a study, also while it runs: curves, parameters, means and intervals. Ctrl-C ends it.

    \b
    fila-lab ui fusion_methods --budget full
    ssh -L 5000:127.0.0.1:5000 machine      then the page opens here, of a study that runs there
    """
    folder = result_folder(study, budget, out)

    from fila_lab.studies.mirror.database import DATABASE, default_uri

    if not (folder / DATABASE).is_file():
        raise FilaError(f"{folder} holds no {DATABASE} yet; it is made when a cell runs, and `fila-lab sync {folder}` makes it too")
    _check_port(port)
    address = f"http://127.0.0.1:{port}/{_runs_of(folder)}"
    typer.echo(f"MLflow opens {folder / DATABASE} at {address} in a few seconds; Ctrl-C ends it")
    code = _serve(default_uri(folder), port)
    if code:
        raise FilaError(f"MLflow ended with exit code {code}; what it says stands above")


def _runs_of(folder: Path) -> str:
    """Where MLflow's pages show the study's runs; empty, which is their first page, where the database does not say."""
    from fila_lab.studies.folder import read_plan
    from fila_lab.studies.mirror.database import DATABASE

    name = ((read_plan(folder) or {}).get("study") or {}).get("name")
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{(folder / DATABASE).resolve().as_uri()}?mode=ro", uri=True)) as database:
        for (number,) in database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)):
            return f"#/experiments/{number}/runs"
    return ""


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            other = port + 1 if port < 65535 else port - 1
            raise ConfigError(
                f"--port = {port}: cannot be used ({error.strerror or error}); choose another, e.g. --port {other}"
            ) from error


def _serve(uri: str, port: int) -> int:
    """MLflow's server as a child, until it or the user ends it; its exit code, 0 after Ctrl-C."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server goes with this process, however that is ended
    # A group of its own: Ctrl-C reaches this process alone, and what the server has started ends with it, without a word.
    environment = {**os.environ, **quiet}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with suppress(ProcessLookupError, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
