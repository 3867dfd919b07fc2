"""What a score is: a prediction and the accepted answers give a share of being right; and the registry of all of them, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fila_lab.config.base import FilaError
from fila_lab.config.score_names import GROUP
from fila_lab.config.score_names import SCORES as BUILT_IN
from fila_lab.evaluation.registry import Registry

Answers = str | Sequence[str]
F = TypeVar("F", bound=Callable[..., float])


@dataclass(frozen=True)
class Score:
    """A score by name. `known`: columns of an item that the rule reads beside the answers (options, dataset, ...); `may_know`: those that
    it reads where they are known."""

    name: str
    rule: Callable[..., float]
    known: tuple[str, ...] = ()
    may_know: tuple[str, ...] = ()

    def __call__(self, prediction: str, answers: Answers, known: Mapping[str, Any] | None = None) -> float:
        """The share of being right, 0 to 1.

        Raises:
            FilaError: no answers, texts that are none, or a column missing that this score reads.
        """
        accepted = (answers,) if isinstance(answers, str) else tuple(answers)
        if not accepted:
            raise FilaError("answers is empty; give at least one answer to compare with (a test split may have none)")
        if wrong := next((text for text in (prediction, *accepted) if not isinstance(text, str)), None):
            raise FilaError(f"{self.name}: {wrong!r} is no text; predictions and answers are texts")
        columns = known or {}
        if missing := [name for name in self.known if name not in columns]:
            raise FilaError(
                f"{self.name} reads what is known of an item, and {', '.join(missing)} is not; give it, or choose another score"
            )
        read = {name: columns[name] for name in (*self.known, *self.may_know) if name in columns}
        value = float(self.rule(prediction, accepted, **read))
        if not 0 <= value <= 1:
            raise FilaError(f"score {self.name!r} gave {value:g}; a score lies between 0 and 1")
        return value


class _Scores(Registry[Score]):
    def loaded(self, name: str, thing: Any) -> Score:
        return thing if isinstance(thing, Score) else Score(name, thing)


SCORES: Registry[Score] = _Scores("score", GROUP)
"""Name -> score. Another package's: entry points of the group `fila_lab.scores`, a `Score` or a function (prediction, answers) -> float."""


def score(name: str, known: Sequence[str] = (), may_know: Sequence[str] = ()) -> Callable[[F], F]:
    """Decorator: make a function (prediction, answers as a tuple, columns by keyword) -> float available as `SCORES[name]`."""

    def add(rule: F) -> F:
        if rule.__module__.startswith(f"{__package__}.") and name not in BUILT_IN:
            raise FilaError(f"score {name!r} has no line in config.score_names; add it there")
        SCORES.add(name, Score(name, rule, tuple(known), tuple(may_know)))
        return rule

    return add
