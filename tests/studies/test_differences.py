"""What two arms have not in common, wherever they are: in a study file, in a result folder, among published results."""

from __future__ import annotations

from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.cli import main
from fila_lab.config import ConfigError, load_study, resolve_run
from fila_lab.cost.closed.matching import amount
from fila_lab.studies.differences import Side, between, side
from fila_lab.studies.publish import publish

ROOT = Path(__file__).parents[2]


def place(word: str) -> Path:
    path = Path(word)
    return path if path.exists() else ROOT / "experiments" / f"{word}.yaml"


def sides(one: str, other: str, study: str | None = None, budget: str | None = None) -> tuple[Side, Side]:
    first, second = (side(word, study, budget, place) for word in (one, other))
    return first, second


def test_only_what_differs_is_shown_with_the_closed_forms_of_both(bench: Bench) -> None:
    one, other = sides("concat", "addition", str(bench.file))
    found = between(one, other)
    assert found.fields == {"fusion.name": ("concat", "addition")}
    assert found.fusion_points is None
    assert found.records is None
    assert found.costs["parameters"] == (amount(one.config, "parameters"), amount(other.config, "parameters"))
    assert between(one, one).fields == {}


def test_every_pair_of_arms_of_a_study_differs_in_what_their_overrides_say() -> None:
    study = load_study(ROOT / "experiments" / "fusion_methods.yaml")
    none = side("none", "fusion_methods", None, place)
    for arm, declared in study.arms.items():
        found = between(none, side(arm, "fusion_methods", None, place))
        assert set(found.fields) >= {path for path, value in declared.set.items() if path.startswith("fusion.") and value != "none"}


def test_fusion_points_and_matched_widths_are_told() -> None:
    config = resolve_run("mini", {"fusion.depth": [[1, 3], [3, 3]]})
    found = between(Side("a", config), Side("b", resolve_run("mini", {"fusion.depth": [[1, 3], [4, 3]]})))
    assert found.fusion_points == [("1 -> 3", "on", "on"), ("3 -> 3", "on", ""), ("4 -> 3", "", "on")]
    told = between(*sides("fusion_matched:concat", "fusion_matched:cross_flops")).matches
    assert len(told) == 1
    assert "fusion.hidden = " in told[0]


def test_a_run_and_its_published_twin_are_equal(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    publish(bench.out, tmp_path / "published")
    found = between(*sides(f"{bench.out}:concat:0", f"{tmp_path / 'published'}:concat:0"))
    assert (found.fields, found.records, found.results) == ({}, [], [])
    other = between(*sides("concat:0", "concat:1", str(bench.out)))
    assert other.fields == {"seed": (0, 1)}
    assert other.results
    assert other.results[0].startswith("metrics: ")
    arm = between(*sides(f"{bench.out}:concat", f"{bench.file}:concat"))
    assert (arm.fields, arm.results) == ({}, None)


@pytest.mark.parametrize(
    ("word", "study", "message"),
    [
        ("concat", None, "of which study"),
        ("concta", "fusion_methods", "has no arm 'concta'.*did you mean 'concat'"),
        ("fusion_methods:concta", None, "did you mean 'concat'"),
        ("fusion_methods:concat:x", None, "has no arm"),
        ("experiments/results/fusion_methods:concta", None, r"has no arm and no cell 'concta' \(did you mean 'concat'\?\); choose none, "),
        ("experiments/results/fusion_methods:", None, "has no arm and no cell ''"),
    ],
)
def test_a_word_that_means_nothing_is_one_message(word: str, study: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        side(word, study, None, place)


def test_the_verb_prints_both_sides(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["diff", "none", "addition", "--study", str(bench.file)])
    assert not stop.value.code
    told = capsys.readouterr().out
    assert "none | addition: 1 field differs" in told
    assert "fusion point (stage -> after layer)" in told
    assert "training FLOPs a page" in told
