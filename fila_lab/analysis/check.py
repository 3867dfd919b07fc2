"""One self-check of a study, and which contrasts it makes incomparable: what `selfcheck` hands to the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """`passed` is None where the check could not be made; `text` says with numbers what was found, or why it could not be.

    `affects`: the arms whose every contrast a failure makes incomparable, None for all arms. `apart`: groups of arms that are alike
    within themselves and differ from the others (other items, other steps); a failure makes contrasts across groups incomparable.
    `needed`: whether not being able to make it is worth an alarm.

    Example:
        >>> check = Check("same items", False, "none answered other items", affects=frozenset({"none"}))
        >>> check.spoils(["concat", "none"]), check.spoils(["concat", "addition"])
        (True, False)
    """

    name: str
    passed: bool | None
    text: str
    affects: frozenset[str] | None = frozenset()
    apart: tuple[frozenset[str], ...] = ()
    needed: bool = True

    def spoils(self, arms: Iterable[str]) -> bool:
        """Whether this check's failure makes a contrast (or interaction) of these arms `not comparable`."""
        if self.passed is not False:
            return False
        involved = set(arms)
        if self.affects is None or involved & self.affects:
            return True
        return sum(bool(involved & group) for group in self.apart) > 1


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c, d, ...`: the first few of many."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
