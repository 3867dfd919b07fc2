"""A table of the terminal that fits its width: it drops whole columns, the least needed first and said so, and never a digit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fila_lab.analysis.escape import rich_text

ENDLESS = 10_000


@dataclass(frozen=True)
class Column:
    """drop: the greater, the sooner it is left out; 0: never. words: its text may be broken into lines; name: but only where nothing else
    would fit."""

    heading: str
    drop: int = 0
    words: bool = False
    name: bool = False

    @property
    def is_text(self) -> bool:
        return self.words or self.name


@dataclass
class Fitted:
    """Rows of cells, one a column."""

    title: str
    columns: Sequence[Column]
    rows: list[Sequence[Text]] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        def fits(table: Table) -> bool:
            return Measurement.get(console, options.update(max_width=ENDLESS), table).minimum <= options.max_width

        kept = list(range(len(self.columns)))
        dropped: list[str] = []
        table = self._table(kept, names_whole=True)
        while not fits(table):
            table = self._table(kept, names_whole=False)
            loose = [place for place in kept if self.columns[place].drop]
            if fits(table) or not loose:
                break
            worst = max(loose, key=lambda place: (self.columns[place].drop, place))
            kept.remove(worst)
            dropped.append(self.columns[worst].heading)
            table = self._table(kept, names_whole=True)
        yield table
        if dropped:
            yield Text(f"Left out for the width: {', '.join(reversed(dropped))}; the report has them.", style="dim")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def _table(self, kept: Sequence[int], names_whole: bool) -> Table:
        table = Table(title=rich_text(self.title), title_justify="left", title_style="", header_style="bold")
        for place in kept:
            column = self.columns[place]
            unbroken = not column.is_text or (column.name and names_whole)
            longest = max((row[place].cell_len for row in self.rows), default=1) if unbroken else None
            justify = "left" if column.is_text else "right"
            table.add_column(rich_text(column.heading), justify=justify, min_width=longest, no_wrap=unbroken, overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*(row[place] for place in kept))
        return table
