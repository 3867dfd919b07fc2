"""Which comparisons a study asks for: each of two different arms (or of four), and each asked for once."""

from __future__ import annotations

from collections.abc import Hashable

from fila_lab.config.base import ConfigError
from fila_lab.config.study import StudyConfig


def check_contrasts(study: StudyConfig) -> None:
    """Refuse a contrast of an arm with itself, and one that is asked for twice under one metric, reversed ones included.

    Twice in one family it would make Holm's correction severer than it is due; in two, the milder of two verdicts could be quoted.

    Raises:
        ConfigError: naming both places.
    """
    seen: dict[Hashable, str] = {}
    for family, declared in study.families.items():
        for number, arms in enumerate(declared.comparisons):
            kind, place = ("contrasts", number) if len(arms) == 2 else ("interactions", number - len(declared.contrasts))
            where = f"families.{family}.{kind}[{place}] = [{', '.join(arms)}]"
            if len(arms) == 2 and arms[0] == arms[1]:
                raise ConfigError(f"study {study.name!r}, {where} compares an arm with itself; name two arms, or remove it")
            key = (_sign_free(arms), declared.metric or study.metric)
            if key in seen:
                raise ConfigError(
                    f"study {study.name!r}, {where} is the same comparison as {seen[key]}, by the same metric {key[1]}; remove one, "
                    "or give one of the families a metric of its own"
                )
            seen[key] = where


def _sign_free(arms: tuple[str, ...]) -> Hashable:
    """Equal for comparisons that differ in sign alone: B - A is A - B reversed, and (A - B) - (C - D) is (A - C) - (B - D)."""
    if len(arms) == 2:
        return frozenset(arms)
    first, second, third, fourth = arms
    return frozenset((frozenset((first, fourth)), frozenset((second, third))))
