"""What an engine on other machines must be told: which cluster, what a cell takes of it, and what all its nodes must see."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fila_lab.config import ConfigError
from fila_lab.studies.engines.resources import CellResources

PASSED_ON = ("FILA_LAB_", "HF_", "TRANSFORMERS_", "TORCH_")
"""Beginnings of the names of environment variables that steer a cell, and go with it to its node."""
FORMS = "auto, HOST:PORT (of the head's GCS, 6379) or ray://HOST:PORT (of its client server, 10001)"


def _silent(message: str) -> None:
    return None


@dataclass(frozen=True)
class Cluster:
    """Where and how an engine on other machines runs cells."""

    address: str | None = None
    """None: RAY_ADDRESS, else a Ray of the driver's own."""
    cell: CellResources = field(default_factory=CellResources)
    cache: Path = Path("runs/cache")
    suites: frozenset[str] = frozenset({"seam"})
    """Of the study's cells: what their code hash covers."""
    say: Callable[[str], None] = _silent


def wanted_address(address: str | None) -> str | None:
    """The cluster that is meant: the one given, else RAY_ADDRESS; None where Ray is to be started here.

    Raises:
        ConfigError: it has no form of an address.
    """
    given, source = (address, "--address") if address is not None else (os.environ.get("RAY_ADDRESS") or None, "RAY_ADDRESS")
    if given is None or given in ("auto", "local"):
        return None if given == "local" else given
    host, colon, port = given.removeprefix("ray://").rpartition(":")
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 2**16 or "/" in host:
        raise ConfigError(f"{source} = {given!r} is no address of a Ray cluster; give {FORMS}")
    return given


def passed_on() -> dict[str, str]:
    """The driver's environment variables that go with a cell."""
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
