"""Things by name: built in by decorator, from other packages by an entry-point group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.installed import installed_names

T = TypeVar("T")


class UnknownName(FilaError, KeyError):
    """A name under which nothing is registered."""

    __str__ = Exception.__str__


class Registry(Mapping[str, T]):
    """A mapping of names to things; those of other packages are loaded when they are asked for.

    Args:
        what: what one of them is called in messages.
        group: entry-point group.
    """

    def __init__(self, what: str, group: str) -> None:
        self._what, self._group = what, group
        self._own: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register `thing`. FilaError where the name is another one's."""
        if self._own.setdefault(name, thing) is not thing:
            raise FilaError(f"{self._what} {name!r} is registered twice; give one of them another name")
        return thing

    def __getitem__(self, name: str) -> T:
        if name not in self._own:
            for point in entry_points(group=self._group, name=name):
                try:
                    self._own[name] = self.loaded(name, point.load())
                except Exception as error:
                    raise FilaError(
                        f"{self._what} {name!r}: the entry point {point.value!r} does not load ({error}); repair that package"
                    ) from error
        if name not in self._own:
            raise UnknownName(f"{self._what} {name!r} is unknown{did_you_mean(str(name), self)}; choose {', '.join(sorted(self))}")
        return self._own[name]

    def loaded(self, name: str, thing: T) -> T:
        """What an entry point's object becomes."""
        return thing

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._own, *installed_names(self._group))))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in list(self)
