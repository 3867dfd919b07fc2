"""How often a rule raises an alarm on noise alone, measured; and how far the smallest effect it says it could find is right."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from synthetic import write_study

from fila_lab.analysis import screening, signature_rules
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.screening import LEVEL, screen, smallest_effect, usable
from fila_lab.analysis.signatures import RULES
from fila_lab.analysis.statistics import Interval, paired_interval

SEEDS = (3, 5, 8)
TESTING = [rule.name for rule in RULES if rule.tests]


def allowed(repeats: int) -> float:
    """LEVEL and three standard errors of a share over this many studies."""
    return LEVEL + 3 * (LEVEL * (1 - LEVEL) / repeats) ** 0.5


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("m", [1, 12])
def test_over_all_comparisons_noise_is_shown_at_most_at_the_level(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "smallest_effect", lambda *_: 0.0)
    rng = np.random.default_rng([n, m])
    repeats, raised = 300, 0
    for _ in range(repeats):
        common = rng.normal(0, 1, n)  # one counterpart for all: the comparisons hang together
        raised += bool(screen({i: paired_interval(rng.normal(0, 1, n) - common) for i in range(m)}).shown)
    assert raised / repeats <= allowed(repeats)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_the_smallest_effect_is_found_with_80_percent_power(n: int, alpha: float) -> None:
    rng, repeats, sd = np.random.default_rng(n), 4000, 2.5
    effect = smallest_effect(sd, n, alpha)
    draws = rng.normal(effect, sd, (repeats, n))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / math.sqrt(n))
    from scipy import stats

    assert np.mean(stats.t.sf(t, n - 1) < alpha) == pytest.approx(0.8, abs=3 * (0.16 / repeats) ** 0.5)


@pytest.mark.parametrize("values", [[], [0.3], [0.3, 0.9], [0.1] * 5, [0.1 + 1e-17, 0.1, 0.1], [0.0] * 3])
def test_few_seeds_and_no_scatter_are_never_shown(values: list[float]) -> None:
    assert not usable(paired_interval(values))
    made = screen({"a": paired_interval(values)}, limit=-1.0)
    assert not made.shown
    assert made.untested == ("a",)


def test_an_interval_that_is_no_number_is_never_shown() -> None:
    nan = math.nan
    assert not screen({"a": Interval(nan, nan, nan, 5, nan), "b": Interval(0.5, nan, nan, 5, math.inf)}).shown


def _noise(folder: Findings, n: int, rng: np.random.Generator) -> Findings:
    """All arms alike: 300 triplets of reading at .55 (.9 of coarse: the border of the ceiling), a seed's luck shared by its arms.

    `oracle_map` gains just the margin, the least that is no sign of blindness.
    """
    rows = []
    luck = rng.normal(0, 0.01, n)
    for arm in folder.folder.arms:
        for seed in range(n):
            row: dict[str, float | int | str] = {"arm": arm, "seed": seed, "id": f"{arm}-{seed:04d}", "n/reading": 300.0, "n/coarse": 60.0}
            for task, level, items in (("reading", 0.55, 300), ("coarse", 0.9, 60)):
                gain = folder.folder.study.margin if arm == "oracle_map" else 0.0
                right = rng.random((items, 3)) < level + luck[seed] + gain  # cut, sham, intact
                cut, sham, intact = right.T
                row |= {f"exact/{task}/{place}": own.mean() for place, own in zip(("cut", "sham", "intact"), right.T, strict=True)}
                row |= {f"exact/{task}": right.mean(), f"seam_gap/{task}": sham.mean() - cut.mean()}
                row |= {f"sham_gap/{task}": intact.mean() - sham.mean(), f"fragmentation/{task}": (sham & ~cut).mean()}
            row["exact/mean"] = (float(row["exact/reading"]) + float(row["exact/coarse"])) / 2
            rows.append(row)
    return Findings(folder.folder, pd.DataFrame(rows))


def _rates(folder: Findings, n: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(n)
    raised = dict.fromkeys(TESTING, 0)
    for _ in range(repeats):
        found = _noise(folder, n, rng)
        for rule in RULES:
            if rule.tests:
                raised[rule.name] += bool(rule.check(found).signs)
    return {name: count / repeats for name, count in raised.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return Findings.of(write_study(tmp_path_factory.mktemp("noise"), seeds=(0,), triplets=6, tuning=False))


@pytest.fixture(autouse=True)
def rising_by_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Last rises at a steady rate, all noise."""
    rng = np.random.default_rng(9)

    def rises(findings: Findings) -> pd.DataFrame:
        n = findings.frame["seed"].nunique()
        own = pd.DataFrame({"arm": "none", "first": 500, "last": 1000, "rise": rng.normal(0, 0.02, n), "rate": 1.0, "final": 1.0})
        return own.assign(more=own["rise"] * math.log2(signature_rules.MORE_STEPS), steady=True)

    monkeypatch.setattr(signature_rules, "last_rises", rises)


@pytest.mark.slow
@pytest.mark.parametrize("n", SEEDS)
def test_no_rule_alarms_on_noise_more_often_than_the_level(folder: Findings, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "smallest_effect", lambda *_: 0.0)
    repeats = 500
    rates = _rates(folder, n, repeats)
    print(n, rates)
    assert {name: rate for name, rate in rates.items() if rate > allowed(repeats)} == {}


def test_no_rule_alarms_on_two_seeds_or_without_scatter(folder: Findings) -> None:
    rng = np.random.default_rng(5)
    for n in (1, 2):
        for rule in RULES:
            applied = rule.check(_noise(folder, n, rng))
            assert not (rule.tests and applied.signs), rule.name
            assert applied.unchecked or applied.reach, rule.name
    found = _noise(folder, 5, rng)
    by_arm = found.frame.drop(columns=["id", "seed"]).groupby("arm").transform("first")
    flat = Findings(found.folder, found.frame.assign(**{name: by_arm[name] for name in by_arm}))
    for rule in RULES:
        if rule.tests and rule.name != "under-trained baseline":  # its rises are noise here
            assert not rule.check(flat).signs, rule.name
