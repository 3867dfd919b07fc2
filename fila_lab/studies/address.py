"""Addresses of servers and databases, looked at before anything runs: libraries would retry for minutes, or end in a traceback.

What is said of an address never holds its password.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.studies.sqlite import damage

CONNECT_SECONDS = 3.0
HIDDEN = "***"
_HOST_AND_PORT = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d+)(/.*)?")
_SECRET_KEYS = re.compile(r"(?<=[?&])(?P<key>\w*(?:password|passwd|pwd|token|secret)\w*)=(?P<value>[^&#]*)", re.IGNORECASE)


def masked(uri: str) -> str:
    """The URI with its password hidden, also one that is written wrongly: with `@` or `/` in it."""
    for secret in _secrets(uri):
        uri = uri.replace(secret, f"{secret[0]}{HIDDEN}{secret[-1] if secret[-1] == '@' else ''}")
    return uri


def _secrets(uri: str) -> list[str]:
    """The passwords of a URI, each with the sign before it, and with the `@` after it."""
    found = [f"={match['value']}" for match in _SECRET_KEYS.finditer(uri) if match["value"]]
    _, mark, rest = uri.partition("://")
    user, at, _ = rest.rpartition("@")
    _, colon, password = user.partition(":")
    if mark and at and colon and password and not rest.startswith("/"):
        found.append(f":{password}@")
    return found


@dataclass(frozen=True)
class Address:
    """A URI as an option gives it, with examples of one that works."""

    option: str
    uri: str
    examples: str

    def refusal(self, why: str) -> FilaError:
        """The error that says why this address cannot be used."""
        return FilaError(f"{self.option}: {masked(self.uri)} {self.hide(why)}")

    def hide(self, text: str) -> str:
        """A text without this address's passwords."""
        text = text.replace(self.uri, masked(self.uri)) if self.uri else text
        for secret in _secrets(self.uri):
            bare = secret[1:].removesuffix("@")
            for form in {bare, unquote(bare)}:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
        return text

    def split(self, known: Collection[str], needed: bool) -> tuple[SplitResult, str, int | None]:
        """Its parts, the scheme without its driver, and the port.

        Args:
            known: schemes that can be used.
            needed: whether there must be a scheme.

        Raises:
            FilaError: it is no URI, or has none of these schemes.
        """
        if _HOST_AND_PORT.fullmatch(self.uri):
            raise self.refusal(f"has no scheme; write {next(iter(known))}://{masked(self.uri)}")
        try:
            parts = urlsplit(self.uri)
            port = parts.port
        except ValueError as error:
            if _secrets(self.uri):  # of which the error may quote a part
                raise self.refusal("is no URI; write a password's own / @ and : as %2F %40 and %3A") from error
            raise self.refusal(f"is no URI ({error}); {self.examples}") from error
        scheme = parts.scheme.partition("+")[0].lower()
        if not self.uri.strip() or (scheme not in known and (scheme or needed)):
            near = did_you_mean(scheme, known) if scheme else ""
            what = "an unknown scheme" if scheme or not self.uri.strip() else "no scheme"
            raise FilaError(f"{self.option}: {masked(self.uri)!r} has {what}{near}; {self.examples}")
        return parts, scheme, port

    def check_file(self) -> Path | None:
        """Refuse a SQLite URL that no database can be opened by; returns the file, None where SQLite reads the name in its own way.

        Raises:
            FilaError: it names no file, a folder, what cannot be written, or what is no database.
        """
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            name = make_url(self.uri).database
        except ArgumentError as error:
            raise self.refusal(f"is no URI of a database; {self.examples}") from error
        if not name or name == ":memory:":
            raise self.refusal(f"names no file, and nothing would be kept; {self.examples}")
        if name.startswith("file:"):
            return None
        try:
            return self._check_path(Path(name))
        except (OSError, ValueError) as error:  # a name too long, a null character
            raise self.refusal(f"cannot be a file ({getattr(error, 'strerror', None) or error}); name another URI") from error

    def _check_path(self, path: Path) -> Path:
        if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise self.refusal(f"lies in a folder that cannot be written; create {path.parent}, or name another URI")
        if path.is_dir():
            raise self.refusal(f"is a folder; name the database file in it, e.g. {path / 'study.db'}")
        if path.exists() and not os.access(path, os.W_OK):
            raise self.refusal("cannot be written; mend its permissions, or name another URI")
        if path.exists() and (problem := damage(path, read_only=True)):
            raise self.refusal(f"cannot be opened ({problem}); restore it from a copy, or name another URI; it is untouched")
        return path

    def check_host(self, parts: SplitResult, port: int, needed: bool) -> None:
        """Refuse a server that does not answer within CONNECT_SECONDS.

        needed: whether there must be a host; a database may be reached through a socket of this machine.

        Raises:
            FilaError: nobody is there.
        """
        if not parts.hostname:
            if needed:
                raise self.refusal(f"names no host; {self.examples}")
            return
        try:
            socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:  # ValueError: a host that cannot be encoded
            raise self.refusal(f"does not answer ({error}); start the server, or name another URI") from error
