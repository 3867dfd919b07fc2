"""What a study declares before its first cell runs, and what became of it since. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from fila_lab.config.base import ConfigError, Number, Seed
from fila_lab.config.study import FRONT, Family, StudyConfig

DECLARED = ("question", "metric", "margin")


class Declared(BaseModel):
    """A declaration as a plan keeps it; fields that the plan of an older version lacks stay out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    question: str | None = None
    metric: str | None = None
    margin: Number | None = None
    families: dict[str, Family] | None = None
    seeds: tuple[Seed, ...] | None = None

    def kept(self) -> dict[str, Any]:
        """As `declaration` gives it."""
        return self.model_dump(mode="json", exclude_unset=True)


def declaration(study: StudyConfig, budget: str) -> dict[str, Any]:
    """Question, metric, margin, families with their contrasts, and the budget's seeds, as JSON keeps them."""
    content = study.model_dump(mode="json", include={*DECLARED, "families"})
    chosen = study.budgets.get(budget)
    return {**content, "seeds": list(chosen.seeds) if chosen is not None else []}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two declarations, a sentence each with the value before and the one now. The order of contrasts is none."""
    return tuple(_changes(before, after))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in (*DECLARED, "seeds"):
        if name in before and before[name] != after.get(name):
            yield f"{name}: {_shown(before[name])} then, {_shown(after.get(name))} now"
    old, new = before.get("families") or {}, after.get("families") or {}
    for family in dict.fromkeys((*old, *new)):
        if family not in new:
            yield f"families.{family}: {_shown(_compared(old[family]))} then, not there now"
        elif family not in old:
            yield f"families.{family}: not there then, {_shown(_compared(new[family]))} now"
        else:
            yield from _family(family, old[family], new[family])


def _family(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    lost = [arms for arms in _compared(old) if arms not in _compared(new)]
    added = [arms for arms in _compared(new) if arms not in _compared(old)]
    if lost:
        yield f"families.{name}: {_shown(lost)} then, not there now"
    if added:
        yield f"families.{name}: not there then, {_shown(added)} now"
    for field in dict.fromkeys((*old, *new)):
        if field not in ("contrasts", "interactions") and old.get(field) != new.get(field):
            yield f"families.{name}.{field}: {_shown(old.get(field))} then, {_shown(new.get(field))} now"


def _compared(family: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(arms) for kind in ("contrasts", "interactions") for arms in family.get(kind) or ()]


def _shown(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return ", ".join(f"[{', '.join(arms)}]" for arms in value)
    return "none" if value is None or value == [] else str(value)


def judged_by(ran: StudyConfig, given: StudyConfig, budget: str) -> tuple[StudyConfig, tuple[str, ...]]:
    """The study a folder was run with, judged as another version of its file says; and what else that version changes, which the folder's
    cells know nothing of: arms, budgets, overrides.

    Raises:
        ConfigError: they are two studies.
    """
    if ran.name != given.name:
        raise ConfigError(f"--out: the folder holds study {ran.name!r}, not {given.name!r}; give its own study file, or the folder alone")
    old, new = (study.model_dump(mode="json", exclude={*DECLARED, "families", "winners"}) for study in (ran, given))
    found = {arm for arm, declared in ran.arms.items() if declared.role == FRONT}  # by the folder's sweep: no file declares them
    unrun = [f"arms.{arm}" for arm in dict.fromkeys((*old["arms"], *new["arms"])) if arm not in found and _run(old, arm) != _run(new, arm)]
    unrun += [name for name in ("preset", "set", "equalise", "tuning", "sweep") if old.get(name) != new.get(name)]
    if (old["budgets"].get(budget) or {}) | {"workers": 0} != (new["budgets"].get(budget) or {}) | {"workers": 0}:
        unrun.append(f"budgets.{budget}")
    update = {name: getattr(given, name) for name in (*DECLARED, "families")}
    return ran.model_copy(update={**update, "arms": {**ran.arms, **given.arms}}), tuple(unrun)


def _run(study: Mapping[str, Any], arm: str) -> Any:
    """What of an arm its cells depend on."""
    declared = study["arms"].get(arm)
    return None if declared is None else (declared["set"], declared["match"])
