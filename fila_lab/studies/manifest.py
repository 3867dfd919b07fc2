"""What is recorded beside each result: code, data, weights, versions, machine, times. Imports none of the libraries it names."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, RunConfig
from fila_lab.studies.engines import Finished
from fila_lab.studies.identity import data_hash, weights_hashes

PACKAGES = (
    "fila-lab",
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "open_clip_torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pandas",
    "pillow",
    "optuna",
    "mlflow",
)


@functools.cache
def versions() -> dict[str, str]:
    """Installed versions, Python's included."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    import psutil

    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return {"system": platform.platform(), "processor": model, "cores": os.cpu_count(), "memory_gib": memory}


def stamp(seconds: float) -> str:
    """UTC time, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def cell_manifest(event: Finished, config: RunConfig, *, code: str, engine: str, run: str) -> dict[str, Any]:
    """The manifest of a finished cell; `run` names the command that computed it. Of one that began with what stages shared with others had
    come to, `shared_stages` says the id of that (a folder of the cache), and the stages' names."""
    try:
        weights = weights_hashes(config)
    except FilaError:
        weights = {}
    shared = event.provenance.get("shared_stages")
    return {
        "code_hash": code,
        "data_hash": event.provenance.get("data_hash") or data_hash(config),
        "weights": event.provenance.get("weights") or weights,
        "versions": event.provenance.get("versions") or versions(),
        "machine": event.provenance.get("machine") or machine(),
        "started": stamp(event.started),
        "finished": stamp(event.finished),
        "host": event.host,
        "engine": engine,
        "run": run,
        "curve_times": event.provenance.get("curve_times") or {},
        **({"shared_stages": shared} if shared else {}),
    }
