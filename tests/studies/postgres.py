"""A real PostgreSQL server for tests: Debian's binaries, a data folder of its own, no other user's server touched."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

USER, PASSWORD = "fila", "se/sam@e"
SECONDS = 60


def binaries() -> Path | None:
    """The folder of the newest server installed here."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and (there := shutil.which("initdb")):
        return Path(there).resolve().parent
    return max(found, key=lambda path: float(path.parent.name), default=None)


class Server:
    """A server that listens at 127.0.0.1 and in its own folder. Its superuser has a password there, and none in the folder."""

    def __init__(self, folder: Path, bin: Path, user: str | None) -> None:
        self.folder, self.bin, self.user = folder, bin, user
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._names = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        authentication = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--username={USER}", f"--pwfile={secret}"]
        self._call("initdb", "-D", str(folder / "data"), "--no-sync", "--encoding=UTF8", "--locale=C", *authentication)

    def _call(self, name: str, *arguments: str) -> None:
        command = [str(self.bin / name), *arguments]
        done = subprocess.run(command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder, "fsync": "off"}
        options |= {"max_connections": 40, "shared_buffers": "16MB"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            command = [str(self.bin / "postgres"), "-D", str(self.folder / "data"), *settings]
            self._process = subprocess.Popen(command, user=self.user, cwd=self.folder, stdout=log, stderr=log)
        ended = time.monotonic() + SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8", errors="replace")
                assert time.monotonic() < ended
                time.sleep(0.05)

    def stop(self) -> None:
        """At once, without a word to those who are connected."""
        if self._process is not None:
            self._process.send_signal(3)
            self._process.wait(SECONDS)
            self._process = None

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        import psycopg

        with psycopg.connect(host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"sweeps_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running(bin: Path) -> Iterator[Server]:
    """A server for the time of the block. PostgreSQL refuses to run as root: then it runs as another user."""
    user = None
    if os.geteuid() == 0:
        user = next((entry.pw_name for entry in pwd.getpwall() if entry.pw_name == "postgres"), "nobody")
    # Not below pytest's folder, which another user cannot enter.
    with tempfile.TemporaryDirectory(prefix="fila-postgres-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder), bin, user)
        try:
            server.start()
            yield server
        finally:
            server.stop()
