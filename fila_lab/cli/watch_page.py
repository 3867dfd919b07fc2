"""The page of `status --html`: one file without anything from elsewhere, which a browser reloads by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fila_lab.studies.outlook import Outlook

TEMPLATE = Path(__file__).parent / "templates" / "watch.html.j2"
RELOAD_SECONDS = 2.0
"""At most so often."""


def write_page(path: Path, seen: Outlook, every: float | None) -> None:
    """Write the page. every: seconds until it is written again, None if it is not.

    Raises:
        ConfigError: it cannot be written.
    """
    from fila_lab.config import ConfigError
    from fila_lab.config.files import write_atomically

    try:
        write_atomically(path, page_text(seen, every).encode(), durable=False)
    except OSError as error:
        raise ConfigError(f"--html = {path}: cannot be written ({error.strerror or error}); name a file in a folder that can be") from error


def page_text(seen: Outlook, every: float | None) -> str:
    """The page's HTML."""
    from jinja2 import Environment, StrictUndefined

    from fila_lab.cli.watch import STYLES, cell_name, headline
    from fila_lab.studies.display import clock

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    running = [(row, square) for row in seen.rows for square in row.squares if square.state == "running"]
    failures = [(row, square) for row in seen.rows for square in row.squares if square.state == "failed"]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        seen=seen,
        states=list(STYLES),
        headline=headline(seen),
        over=not seen.count("left") and not seen.searching,
        reload=None if every is None else max(RELOAD_SECONDS, every),
        moment=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seen.at)),
        clock=clock,
        name=cell_name,
        running=running,
        failures=failures,
    )
