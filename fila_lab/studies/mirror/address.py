"""Whether a tracking URI can work, told at once: MLflow would retry for minutes, or end in a traceback."""

from __future__ import annotations

from importlib.metadata import entry_points

from fila_lab.studies.address import Address

OPTION = "--tracking-uri"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
OTHER_SCHEMES = ("sqlite", "file", "databricks", "databricks-uc", "uc")
EXAMPLES = "write e.g. http://127.0.0.1:5000 or sqlite:////data/mlflow.db"


def address_of(uri: str) -> Address:
    """A tracking URI as the option gives it."""
    return Address(OPTION, uri, EXAMPLES)


def check_address(uri: str) -> None:
    """Look whether somebody is there.

    Raises:
        FilaError: naming the URI and what to do.
    """
    address = address_of(uri)
    parts, scheme, port = address.split(_known(), needed=False)
    if scheme == "sqlite":
        address.check_file()
    elif scheme in PORTS:
        address.check_host(parts, port or PORTS[scheme], needed=scheme in ("http", "https"))


def _known() -> list[str]:
    return [*PORTS, *OTHER_SCHEMES, *(found.name for found in entry_points(group="mlflow.tracking_store"))]
