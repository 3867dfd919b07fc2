"""Databases of Optuna's trials: whether one can be used, told in one message before anything runs, and opening it.

SQLite or PostgreSQL. Optuna would make its tables in whatever database it is given, so what is in it is looked at first.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from fila_lab.config.base import FilaError
from fila_lab.studies.address import CONNECT_SECONDS, Address
from fila_lab.studies.sqlite import BUSY_SECONDS, damage, passing_fault, set_aside, sqlite_url

OPTION = "--sweep-storage"
EXAMPLES = "write e.g. postgresql://user@host/database or sqlite:////data/sweeps.db"
PORTS = {"postgresql": 5432, "sqlite": 0}
NEEDED = frozenset({"studies", "trials", "version_info"})
"""By these tables a database is known as Optuna's."""
TABLES = NEEDED | {
    *("alembic_version", "study_directions", "study_user_attributes", "study_system_attributes", "trial_user_attributes"),
    *("trial_system_attributes", "trial_params", "trial_values", "trial_intermediate_values", "trial_heartbeats"),
}
MLFLOW = frozenset({"experiments", "runs", "metrics"})
LIBPQ = ("psycopg", "psycopg2")
"""Drivers that pass on what PostgreSQL's own library takes."""
TIMEOUT_SECONDS = 15
"""How long a server may take over one statement: one that died with its network would be waited for until the system gives up."""
MAKERS_AT_ONCE = 10
"""How often making the tables is tried, while others make them in the same empty database."""


def check_storage(url: str) -> None:
    """Look whether trials can be kept there, before anything runs; an empty database gets Optuna's tables.

    Raises:
        FilaError: naming the URL, without its password, and what to do.
    """
    open_storage(url)


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at a URL of the user's.

    Raises:
        FilaError: as `check_storage`.
    """
    address = Address(OPTION, url, EXAMPLES)
    parts, scheme, port = address.split(PORTS, needed=True)
    if scheme == "sqlite":
        address.check_file()
    else:
        address.check_host(parts, port or PORTS[scheme], needed=False)
    _check_driver(address)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with explained(address):
        arguments = _arguments(url)
        try:
            found = content_of(url, arguments)
        except OperationalError as error:
            if "startup parameter" not in str(error):
                raise
            del arguments["connect_args"]["options"]  # a connection pooler stands before the server
            found = content_of(url, arguments)
        _check_content(address, found)
        return _open(address, found, arguments)


def open_own(path: Path) -> RDBStorage:
    """The storage of a folder's own database: made where there is none, set aside and made anew where it cannot be used.

    Raises:
        MachineError: it is busy, or the disk does not let it be read or written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        set_aside(path, "what is left of one")  # a journal without its database would be played into the new one
    elif problem := damage(path):
        set_aside(path, problem)
    address = Address(str(path), sqlite_url(path), "")
    for again in (True, False):
        try:
            arguments = _arguments(address.uri, durable=False)
            found = content_of(address.uri, arguments)
            _check_content(address, found)
            return _open(address, found, arguments)
        except Exception as error:
            if (fault := passing_fault(path, error)) is not None:
                raise fault from error
            if not again:
                raise
            set_aside(path, " ".join(str(error).split())[:200])
    raise AssertionError


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """What a database raises, as one sentence with a remedy.

    Raises:
        FilaError: naming the address.
    """
    try:
        yield
    except FilaError:
        raise
    except (SQLAlchemyError, OSError, optuna.exceptions.OptunaError, sqlite3.Error, RuntimeError, ValueError) as error:
        said = spoken(error)
        remedy = next((remedy for words, remedy in _REMEDIES.items() if words in said), "see that the database is there and can be written")
        raise address.refusal(f"cannot be used ({said}); {remedy}") from error


def spoken(error: BaseException) -> str:
    """What the database itself said, on one line."""
    while error.__cause__ is not None and isinstance(error, optuna.exceptions.OptunaError):
        error = error.__cause__
    said: Any = getattr(error, "orig", None) or error
    return " ".join(str(said).split())[:300] or type(said).__name__


_REMEDIES = {
    "password": "give user and password in the URL, or better in PGPASSWORD or ~/.pgpass",
    "no pg_hba.conf entry": "let the server's pg_hba.conf accept this user and machine",
    "role": "create the user with `createuser`, or name another in the URL",
    "does not exist": "create the database with `createdb`, or name another in the URL",
    "permission denied": "let the user write there (GRANT), or give it a database of its own: `createdb --owner`",
    "too many": "end other connections, or raise the server's max_connections",
    "readonly": "mend the permissions of the file and its folder",
    "locked": "end what holds the database open",
    "is full": "free space there",
    "No space left": "free space there",
}
"""Words of a database -> what mends it; the first that fits is said."""


@dataclass(frozen=True)
class Content:
    """What is in a database: its tables, the revision of its schema, and the version of Optuna that made it."""

    tables: frozenset[str] = frozenset()
    revision: str | None = None
    version: str | None = None


def _check_driver(address: Address) -> None:
    try:
        dialect = make_url(address.uri).get_dialect()
    except NoSuchModuleError as error:
        raise address.refusal(f"names a driver that SQLAlchemy does not know; {address.examples}") from error
    except (ArgumentError, ValueError) as error:
        raise address.refusal(f"is no URI of a database; {address.examples}") from error
    try:
        dialect.import_dbapi()
    except ImportError as error:
        given = dialect.driver
        if given == "psycopg":
            remedy = "install it with `pip install 'fila-lab[postgres]'`"
        else:
            remedy = f"install it, or use psycopg: `pip install 'fila-lab[postgres]'` and {dialect.name}+psycopg://"
        raise address.refusal(f"needs the module {error.name or given}, which is not installed; {remedy}") from error


def _arguments(url: str, durable: bool = True) -> dict[str, Any]:
    """Of SQLAlchemy's engine. Waiting ends; a connection that was lost while cells ran is noticed and made anew."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        connect: dict[str, Any] = {"timeout": BUSY_SECONDS}
        if not durable:
            connect["factory"] = _Unsynced
        return {"poolclass": NullPool, "connect_args": connect}
    limits: dict[str, Any] = {}
    if parsed.get_driver_name() in LIBPQ:
        limits = {"connect_timeout": int(CONNECT_SECONDS), "tcp_user_timeout": TIMEOUT_SECONDS * 1000}
        limits["options"] = f"-c statement_timeout={TIMEOUT_SECONDS}s"
    return {"pool_pre_ping": True, "connect_args": {key: value for key, value in limits.items() if key not in parsed.query}}


class _Unsynced(sqlite3.Connection):
    """A connection to a database that can be made anew: its writes outlast the process, and need not outlast the machine."""

    def __init__(self, *arguments: Any, **further: Any) -> None:
        super().__init__(*arguments, **further)
        self.execute("PRAGMA synchronous = OFF")


def content_of(url: str, arguments: dict[str, Any]) -> Content:
    """What is in the database, which is left as it is."""
    engine = sqlalchemy.create_engine(url, **{**arguments, "poolclass": NullPool, "pool_pre_ping": False})
    with engine.connect() as connection:
        tables = frozenset(sqlalchemy.inspect(connection).get_table_names())

        def first(column: str, table: str) -> str | None:
            if table not in tables:
                return None
            found = connection.execute(sqlalchemy.select(sqlalchemy.column(column)).select_from(sqlalchemy.table(table))).scalar()
            return None if found is None else str(found)

        revision = first("version_num", "alembic_version")
        return Content(tables, revision, first("library_version", "version_info") if tables >= NEEDED else None)


def _check_content(address: Address, found: Content) -> None:
    """Refuse a database of something else: Optuna's tables would be added to it."""
    other = "create a database of its own for sweeps, and name that"
    if found.tables >= MLFLOW:
        raise address.refusal(f"is MLflow's own database; {other}")
    if not (found.tables >= NEEDED or found.tables <= TABLES):
        listed = ", ".join(sorted(found.tables - TABLES)[:5])
        raise address.refusal(f"is not Optuna's database (it has the tables {listed}); {other}")


def _open(address: Address, found: Content, arguments: dict[str, Any]) -> RDBStorage:
    url = address.uri.replace("{", "{{").replace("}", "}}")  # Optuna fills in the version of a schema
    if found.revision and found.version:  # what is written last when a database is made
        # As it is: without a look at its schema, Optuna ends in an error that names no remedy for the newer one.
        storage = RDBStorage(url, arguments, skip_compatibility_check=True, skip_table_creation=True)
        _check_revision(address, storage, found)
        return storage
    for left in reversed(range(MAKERS_AT_ONCE)):
        try:
            return RDBStorage(url, arguments)
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            if not left or not any(words in str(error) for words in ("already exists", "UNIQUE", "unique")):
                raise
            time.sleep(0.1)
    raise AssertionError


def _check_revision(address: Address, storage: RDBStorage, found: Content) -> None:
    current, ours = storage.get_current_version(), storage.get_head_version()
    if current == ours:
        return
    made = f"(schema {current} of Optuna {found.version}; Optuna {optuna.__version__} here has {ours})"
    if current in storage.get_all_versions():
        upgrade = f"`optuna storage upgrade --storage {address.hide(address.uri)}`"
        raise address.refusal(f"is of an older Optuna {made}; bring it up to date with {upgrade}, or name another database")
    raise address.refusal(f"is of a newer Optuna {made}; `pip install --upgrade optuna`, or name another database")
