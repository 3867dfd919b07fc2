"""Families of known truth get wrong words at no more than the promised rate; docs/explanation/verdicts_simulation.md has the long form."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from benchmarks.verdicts import HIGH, Condition, Noise, conditions, page, simulate

KINDS = ("direction", "equivalent", "size")


@pytest.fixture(scope="module")
def noise() -> Noise:
    return Noise.measured()


def at_most(families: int, level: float = 0.05) -> float:
    """The level and three standard errors of a rate over so many families."""
    return level + 3 * (level * (1 - level) / families) ** 0.5


@pytest.mark.parametrize("condition", [Condition(8, 4, "null"), Condition(8, 4, "step"), Condition(8, 4, "step", scale=2.0)], ids=str)
def test_wrong_words_are_rare(condition: Condition, noise: Noise) -> None:
    rates = simulate(condition, 300, noise)
    assert all(rates[kind] <= at_most(300) for kind in KINDS), rates
    assert condition.truth == "null" or rates["found"] > 0.8


def test_new_images_turn_signs_that_hold_for_one_pool_only(noise: Noise) -> None:
    """Arms equal over all pages differ on those of one pool: the seeds agree on it, and the mark keeps it there."""
    rates = simulate(Condition(8, 4, "null", images=True), 40, noise)
    assert rates["direction"] > 0.1
    assert rates["unmarked direction"] <= at_most(40)


def test_a_wrong_word_would_be_seen(noise: Noise) -> None:
    """The same families held against another truth: the count is not blind."""

    class Mistaken(Condition):
        @property
        def margins(self) -> dict[str, float]:
            return dict.fromkeys(self.names, 0.0)

        @property
        def accuracies(self):  # type: ignore[no-untyped-def]
            return Condition(self.seeds, self.arms, "step").accuracies

    assert simulate(Mistaken(8, 4, "step"), 10, noise)["direction"] == 1.0


def test_the_page_says_every_condition_once() -> None:
    rows = [(condition, 100, dict.fromkeys((*KINDS, *(f"unmarked {kind}" for kind in KINDS), "found"), 0.03)) for condition in conditions()]
    text = page(rows, 0, datetime.date(2026, 1, 2))
    assert text.count("\n| ") == len(rows) + 1
    assert len({line for line in text.splitlines() if line.startswith("| ")}) == len(rows) + 1
    assert f"at {100 * HIGH:g} %" in text
    assert "Highest rate: 3.0 %; with skewed noise 3.0 %" in text
    assert "2026-01-02" in text


def test_the_committed_table_has_every_condition() -> None:
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "verdicts_simulation.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == len(list(conditions())) + 1


@pytest.mark.slow
@pytest.mark.parametrize("condition", [c for c in conditions() if c.noise != "skewed"], ids=str)
def test_wrong_words_are_rare_under_every_condition(condition: Condition, noise: Noise) -> None:
    families = 200 if condition.images else 800
    rates = simulate(condition, families, noise, seed=1)
    prefix = "unmarked " if condition.images else ""
    assert all(rates[prefix + kind] <= at_most(families) for kind in KINDS), rates
