"""The whole examination: what loads heavy libraries is looked at in processes of its own, side by side, so that one that hangs or
crashes is a finding and no end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fila_lab.config.json_files import parse_json
from fila_lab.studies.doctor.finding import Finding
from fila_lab.studies.doctor.hardware import hardware
from fila_lab.studies.doctor.libraries import libraries
from fila_lab.studies.doctor.places import places
from fila_lab.studies.doctor.services import storage, tracking
from fila_lab.studies.doctor.weights import weights


def _machine() -> list[Finding]:
    """One process, for all of them need torch."""
    return [*libraries(), *hardware(), *weights()]


PARTS: dict[str, Callable[[], list[Finding]]] = {"machine": _machine, "tracking": tracking, "sweep storage": storage}
"""Looked at in a process each."""
PATIENCE = 120.0


def examine() -> list[Finding]:
    """All findings, in a fixed order."""
    with ThreadPoolExecutor(len(PARTS)) as pool:
        parts = list(pool.map(_elsewhere, PARTS))
        here = places()
    return [*parts[0], *here, *(finding for part in parts[1:] for finding in part)]


def _elsewhere(name: str) -> list[Finding]:
    # Their own warnings belong into no finding; no library may ask the network.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "fila_lab.studies.doctor", name]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return [Finding(name, "fail", f"no answer in {PATIENCE:.0f} s", "see what holds this machine up, then look again")]
    try:
        return [Finding(**each) for each in parse_json(told.stdout.splitlines()[-1])]
    except (ValueError, IndexError, TypeError):
        last = (told.stderr.strip().splitlines() or ["nothing was said"])[-1][:300]
        return [Finding(name, "fail", f"looking at it ended with code {told.returncode}: {last}", "install the package's libraries again")]
