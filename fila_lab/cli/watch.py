"""`status --watch`: a study that runs, drawn again and again in a terminal, or as a page that a browser reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from fila_lab.config.texts import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from fila_lab.studies.outlook import Outlook, Row, Square

STYLES = {"done": "green", "failed": "bold red", "pruned": "magenta", "running": "yellow", "left": "dim"}
GLYPHS = {"done": "█", "failed": "✗", "pruned": "╌", "running": "▁▂▃▄▅▆▇", "left": "·"}
ASCII = {"done": "#", "failed": "x", "pruned": "-", "running": "~", "left": "."}
OTHER_LINES = 14
"""Of the screen, beside the lines of arms."""
NARROW = 60
"""Columns below which cells are counted and not drawn."""
LISTED = 8
"""Running cells, and failures, that are named."""


def watch(look: Callable[[], Outlook], every: float, write: Callable[[Outlook], None] | None, console: Console) -> None:
    """Draw what `look` sees every so many seconds, until nothing is left and nobody is at work, or until Ctrl-C.

    write: is given what was seen each time, to write a page of it.
    """
    with suppress(KeyboardInterrupt):
        _watch(look, every, write, console)


def _watch(look: Callable[[], Outlook], every: float, write: Callable[[Outlook], None] | None, console: Console) -> None:
    from rich.live import Live

    def draw() -> tuple[Outlook, RenderableType]:
        seen = look()
        if write is not None:
            write(seen)
        return seen, picture(seen, console)

    if not console.is_terminal:
        while True:
            seen, drawn = draw()
            console.print(drawn)
            if is_over(seen):
                return
            time.sleep(every)
    seen, drawn = draw()
    with Live(drawn, console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while not is_over(seen):
            time.sleep(every)
            seen, drawn = draw()
            live.update(drawn, refresh=True)


def is_over(seen: Outlook) -> bool:
    """Whether there is nothing more to see."""
    return not seen.drivers and not seen.count("left") and not seen.searching


def headline(seen: Outlook) -> str:
    """Counts, rate and time left in one line. While a search goes on, they are of the cells that it has asked for."""
    from fila_lab.studies.display import clock

    parts = [f"{seen.count('done')} of {seen.total} {'known ' if seen.searching else ''}cells done"]
    parts += [f"{count} {state}" for state in ("failed", "pruned", "running") if (count := seen.count(state))]
    if seen.per_hour is not None:
        parts.append(f"{seen.per_hour:.3g} cells/hour")
    if seen.seconds_left is not None and seen.count("left") + seen.count("running"):
        parts.append(f"about {clock(seen.seconds_left)} left")
    if not seen.drivers:
        parts.append("complete" if not seen.count("left") and not seen.searching else "nobody is at work")
    if seen.searching:
        parts.append(f"the {seen.searching} will ask for more")
    return ", ".join(parts)


def picture(seen: Outlook, console: Console) -> RenderableType:
    """The whole view, as high and as wide as the terminal has room."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    glyphs = GLYPHS if console.encoding.lower().replace("-", "") == "utf8" else ASCII
    name_width = max([3, *(len(one_line(row.title)) for row in seen.rows)])
    room = max(10, console.width - min(name_width, 24) - 34)
    narrow = console.width < NARROW
    table = Table(box=None, padding=(0, 1 if narrow else 2, 0, 0), pad_edge=not narrow, header_style="bold")
    for title in ("arm", "done", "failed", "left") if narrow else ("arm", "phase", "cells", "done", "failed", "left"):
        table.add_column(title, justify="left" if title in ("arm", "phase", "cells") else "right", no_wrap=True, overflow="ellipsis")
    shown = _chosen(seen, max(3, console.height - OTHER_LINES) if console.is_terminal else len(seen.rows))
    for row in shown:
        counts = (str(row.count("done")), str(row.count("failed") or ""), str(row.count("left") + row.count("running") or ""))
        if narrow:
            table.add_row(Text(one_line(row.title)[: max(3, console.width - 17)]), *counts)
        else:
            table.add_row(Text(one_line(row.title)[:24]), row.phase, _squares(row, room, glyphs), *counts)
    lines: list[RenderableType] = [
        Text.assemble((f"{seen.name}", "bold"), f" ({seen.budget})  {time.strftime('%H:%M:%S', time.localtime(seen.at))}"),
        Text(headline(seen)),
        Text(),
        table,
    ]
    if len(shown) < len(seen.rows):
        lines.append(Text(f"... and {len(seen.rows) - len(shown)} more arms", style="dim"))
    lines += _running(seen)
    lines += _failures(seen)
    lines += [Text(f"at work  {driver}", style="dim") for driver in seen.drivers]
    return Group(*lines)


def _chosen(seen: Outlook, most: int) -> list[Row]:
    """The rows that fit: where something happens first, in the study's order."""
    if len(seen.rows) <= most:
        return list(seen.rows)
    ranked = sorted(seen.rows, key=lambda row: (not row.count("running"), not row.count("failed"), not row.count("left")))[:most]
    return [row for row in seen.rows if any(row is each for each in ranked)]


def _squares(row: Row, room: int, glyphs: dict[str, str]) -> Text:
    """A letter a cell; where there are too many, the shares of the states."""
    from rich.text import Text

    text = Text()
    if len(row.squares) <= room:
        for square in row.squares:
            text.append(_glyph(square, glyphs), STYLES[square.state])
        return text
    start = cells = 0
    for state in STYLES:
        cells += row.count(state)
        end = round(room * cells / len(row.squares))
        text.append(glyphs[state][-1] * (end - start), STYLES[state])
        start = end
    return text


def _glyph(square: Square, glyphs: dict[str, str]) -> str:
    levels = glyphs[square.state]
    return levels[min(int((square.share or 0.0) * len(levels)), len(levels) - 1)]


def _running(seen: Outlook) -> list[RenderableType]:
    from rich.text import Text

    from fila_lab.studies.display import clock

    found = [(row, square) for row in seen.rows for square in row.squares if square.state == "running"]
    lines: list[RenderableType] = [Text(f"  {what}", STYLES["running"]) for what in seen.preparing]
    for row, square in found[:LISTED]:
        share = "" if square.share is None else f"  {square.share:.0%}"
        lines.append(Text(f"  {cell_name(row, square)}: {square.doing}{share}  {clock(square.seconds or 0)}", STYLES["running"]))
    if len(found) > LISTED:
        lines.append(Text(f"  ... and {len(found) - LISTED} more", STYLES["running"]))
    return [Text(), *lines] if lines else []


def _failures(seen: Outlook) -> list[RenderableType]:
    from rich.text import Text

    found = [(row, square) for row in seen.rows for square in row.squares if square.state == "failed"]
    lines: list[RenderableType] = [
        Text(one_line(f"  {cell_name(row, square)} failed: {square.failure}"), "red", no_wrap=True, overflow="ellipsis")
        for row, square in found[-LISTED:]
    ]
    if len(found) > LISTED:
        lines.insert(0, Text(f"  {len(found)} failed, the last of them:", "red"))
    return [Text(), *lines] if lines else []


def cell_name(row: Row, square: Square) -> str:
    """What a cell is called here."""
    trial = "" if square.trial is None else f"trial {square.trial} "
    arm = "" if row.phase == "sweep" else f"{one_line(row.arm)} "
    return f"{arm}{trial}seed {square.seed}"
