"""Whether a tracking URI can work, told at once: MLflow would retry for minutes, or end in a traceback."""

from __future__ import annotations

import os
import re
import socket
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.studies.mirror_database import damage

CONNECT_SECONDS = 3.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
OTHER_SCHEMES = ("sqlite", "file", "databricks", "databricks-uc", "uc")
EXAMPLES = "write e.g. http://127.0.0.1:5000 or sqlite:////data/mlflow.db"
_HOST_AND_PORT = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d+)(/.*)?")


def check_address(uri: str) -> None:
    """Look whether somebody is there.

    Raises:
        FilaError: naming the URI and what to do.
    """
    if _HOST_AND_PORT.fullmatch(uri):
        raise FilaError(f"--tracking-uri: {uri} has no scheme; write http://{uri}")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise FilaError(f"--tracking-uri: {uri} is no URI ({error}); {EXAMPLES}") from error
    scheme = parts.scheme.partition("+")[0].lower()
    if not uri.strip() or (scheme and scheme not in (known := _known())):
        raise FilaError(f"--tracking-uri: {uri!r} has an unknown scheme{did_you_mean(scheme, known) if uri.strip() else ''}; {EXAMPLES}")
    if scheme == "sqlite":
        _check_file(uri)
    elif scheme in PORTS:
        _check_server(uri, parts, port or PORTS[scheme], scheme in ("http", "https"))


def _known() -> list[str]:
    return [*PORTS, *OTHER_SCHEMES, *(found.name for found in entry_points(group="mlflow.tracking_store"))]


def _check_file(uri: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        name = make_url(uri).database
    except ArgumentError as error:
        raise FilaError(f"--tracking-uri: {uri} is no URI of a database; {EXAMPLES}") from error
    if not name or name == ":memory:":
        raise FilaError(f"--tracking-uri: {uri} names no file, and nothing would be kept; {EXAMPLES}")
    if name.startswith("file:"):
        return  # SQLite's own form
    path = Path(name)
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise FilaError(f"--tracking-uri: {uri} lies in a folder that cannot be written; create {path.parent}, or name another URI")
    if path.is_dir():
        raise FilaError(f"--tracking-uri: {uri} is a folder; name the database file in it, e.g. {path / 'mlflow.db'}")
    if path.exists() and (problem := damage(path, read_only=True)):
        raise FilaError(f"--tracking-uri: {uri} cannot be opened ({problem}); restore it from a copy, or name another URI; it is untouched")


def _check_server(uri: str, parts: SplitResult, port: int, needed: bool) -> None:
    if not parts.hostname:
        if needed:
            raise FilaError(f"--tracking-uri: {uri} names no host; {EXAMPLES}")
        return
    try:
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:  # ValueError: a host that cannot be encoded
        raise FilaError(f"--tracking-uri: {uri} does not answer ({error}); start the server, or name another URI") from error
