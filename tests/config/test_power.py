"""The power of the exact sign-flip test against samples that are drawn and tested by enumeration, and what is derived from it."""

from __future__ import annotations

import importlib
import itertools
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fila_lab.analysis
from fila_lab.analysis import statistics
from fila_lab.config import ConfigError
from fila_lab.config.power import MOST_SEEDS, can_test, minimal_detectable_effect, power, seeds_for_effect, seeds_needed


def drawn(effect: float, seeds: int, contrasts: tuple[int, ...], samples: int) -> dict[int, float]:
    """Contrasts -> share of normal samples whose sign-flip p, over all 2^(n-1) pairs of assignments, is at most .05 / contrasts."""
    rng = np.random.default_rng([seeds, round(1000 * effect)])
    codes = np.arange(2 ** (seeds - 1))[:, None] >> np.arange(seeds - 1) & 1
    signs = np.hstack([np.ones((len(codes), 1)), 1.0 - 2.0 * codes])  # the first sign is fixed: of each pair one
    p: list[float] = []
    for start in range(0, samples, 2000):
        d = rng.normal(effect, 1, (min(2000, samples - start), seeds))
        sums = np.abs(d @ signs.T)
        p += list((sums >= np.abs(d.sum(axis=1))[:, None] - 1e-9).mean(axis=1))
    return {m: float(np.mean(np.array(p) <= 0.05 / m)) for m in contrasts}


def sampled_signs(effect: float, seeds: int, contrasts: tuple[int, ...], samples: int, flips: int) -> dict[int, float]:
    """The same for more seeds than can be enumerated: p from random assignments."""
    rng = np.random.default_rng([seeds, round(1000 * effect)])
    d = rng.normal(effect, 1, (samples, seeds))
    reached = np.zeros(samples)
    for _ in range(flips // 2000):
        signs = rng.integers(0, 2, (2000, seeds)) * 2.0 - 1.0
        reached += (np.abs(d @ signs.T) >= np.abs(d.sum(axis=1))[:, None]).sum(axis=1)
    return {m: float(np.mean((reached + 1) / (flips + 1) <= 0.05 / m)) for m in contrasts}


@pytest.mark.parametrize("seeds", [6, 7, 8, 9, 10])
@pytest.mark.parametrize("effect", [0.0, 0.4, 0.8, 1.3, 2.0])
def test_power_is_the_share_of_drawn_samples_that_the_test_rejects(seeds: int, effect: float) -> None:
    samples = 12_000
    for contrasts, share in drawn(effect, seeds, (1, 2, 3, 6, 12), samples).items():
        error = math.sqrt(max(share * (1 - share), 1e-4) / samples)
        assert power(effect, 1, seeds, contrasts) == pytest.approx(share, abs=0.003 + 3.5 * error), contrasts


@pytest.mark.slow
@pytest.mark.parametrize("seeds", range(2, 19))
def test_power_by_enumeration_on_a_large_grid(seeds: int) -> None:
    samples = 40_000 if seeds < 14 else 4_000
    for effect in np.arange(0, 3.1, 0.25) if seeds < 14 else (0.3, 0.7, 1.0, 1.4):
        for contrasts, share in drawn(float(effect), seeds, (1, 2, 3, 4, 6, 8, 12, 20, 50, 100, 200), samples).items():
            error = math.sqrt(max(share * (1 - share), 1e-4) / samples)
            assert power(float(effect), 1, seeds, contrasts) == pytest.approx(share, abs=0.003 + 3.5 * error), (effect, contrasts)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [20, 24, 30, 40, 60, 80, 100])
def test_power_with_many_seeds(seeds: int) -> None:
    for effect in (0.15, 0.25, 0.4, 0.6, 0.8):
        for contrasts, share in sampled_signs(effect, seeds, (1, 3, 6, 12, 50), 4000, 40_000).items():
            error = math.sqrt(max(share * (1 - share), 1e-4) / 4000)
            assert power(effect, 1, seeds, contrasts) == pytest.approx(share, abs=0.004 + 3.5 * error), (effect, contrasts)


@pytest.mark.parametrize("contrasts", [1, 2, 3, 6, 12, 50, 200])
def test_without_an_effect_it_is_the_level_the_test_attains(contrasts: int) -> None:
    for seeds in (*range(1, 31), 40, 60, 80, 100):
        level = math.floor(2 ** (seeds - 1) * 0.05 / contrasts) / 2 ** (seeds - 1)
        assert power(0, 0.02, seeds, contrasts) == pytest.approx(level, abs=0.0015), seeds


@pytest.mark.parametrize(("seeds", "contrasts"), [(6, 1), (7, 2), (8, 4), (8, 6), (9, 12), (13, 200)])
def test_where_all_signs_must_agree_it_is_known_in_closed_form(seeds: int, contrasts: int) -> None:
    for effect in (0, 0.3, 1, 2.5):
        same = stats.norm.cdf(effect) ** seeds + stats.norm.cdf(-effect) ** seeds
        assert power(effect, 1, seeds, contrasts) == pytest.approx(same, abs=1e-12)


@pytest.mark.parametrize("seeds", [30, 50, 100])
def test_with_many_seeds_it_is_near_the_power_of_a_t_test(seeds: int) -> None:
    for contrasts in (1, 6, 20):
        critical = stats.t.ppf(1 - 0.025 / contrasts, seeds - 1)
        for effect in (0.2, 0.4, 0.6):
            drawn = stats.norm.rvs(effect, 1, (20_000, seeds), random_state=1)
            t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * seeds**0.5
            assert power(effect, 1, seeds, contrasts) == pytest.approx(np.mean(np.abs(t) > critical), abs=0.02)


def test_it_is_finite_and_grows_with_the_effect_and_the_seeds_everywhere() -> None:
    shifts = (0, 1e-3, 0.1, 0.5, 1, 2, 5, 20, 1e3, 1e8, 1e300)
    for seeds in (*range(1, 15), 17, 20, 25, 33, 50, 100):
        for contrasts in (1, 3, 13, 200):
            own = [power(shift, 1, seeds, contrasts) for shift in shifts]
            assert all(0 <= value <= 1 for value in own)
            assert all(after >= before - 1e-12 for before, after in itertools.pairwise(own)), (seeds, contrasts)
            assert own[-1] == pytest.approx(1 if can_test(contrasts, seeds) else 0)
    for contrasts in (1, 6):
        own = [power(0.5, 1, seeds, contrasts) for seeds in range(1, 60)]
        assert all(after > before - 0.002 for before, after in itertools.pairwise(own)), contrasts


def test_the_ends() -> None:
    assert power(-0.7, 0.4, 9, 3) == power(0.7, 0.4, 9, 3) == pytest.approx(power(7, 4, 9, 3))
    assert power(0.01, 0, 6, 1) == 1
    assert power(0.01, 0, 5, 1) == power(0, 0, 8, 1) == power(1, 1, 1, 1) == 0
    assert [power(1e300, 1e-300, seeds, 6) for seeds in (8, 9)] == pytest.approx([1, 1])
    for wrong in ((math.nan, 1, 8, 1), (1, math.nan, 8, 1), (1, -1, 8, 1), (1, 1, 0, 1), (1, 1, 8, 0), (1, 1, 7.5, 1)):
        with pytest.raises(ConfigError, match="give a"):
            power(*wrong)


def test_seeds_for_an_effect() -> None:
    assert seeds_for_effect(0.05, 0.01, 1) == 6
    assert seeds_for_effect(0.05, 0, 6) == 8
    assert seeds_for_effect(0, 0.01, 1) is None
    assert seeds_for_effect(1e-4, 0.02, 1) is None
    for effect in (0.004, 0.006, 0.01, 0.02, 0.05, 0.2):
        for contrasts in (1, 2, 6, 13):
            n = seeds_for_effect(effect, 0.02, contrasts)
            if n is None:
                assert power(effect, 0.02, MOST_SEEDS, contrasts) < 0.8
            else:
                assert power(effect, 0.02, n, contrasts) >= 0.8
                assert n == seeds_needed(contrasts) or power(effect, 0.02, n - 1, contrasts) < 0.8


def test_the_smallest_effect_that_seeds_find() -> None:
    for seeds, contrasts in ((6, 1), (8, 1), (8, 6), (12, 3), (40, 6)):
        least = minimal_detectable_effect(0.02, seeds, contrasts)
        assert least is not None
        assert power(least, 0.02, seeds, contrasts) == pytest.approx(0.8, abs=1e-3)
    assert minimal_detectable_effect(0.02, 7, 6) is None
    assert minimal_detectable_effect(0, 8, 6) == 0


def test_seeds_needed_as_in_the_design() -> None:
    assert {m: seeds_needed(m) for m in (1, 2, 4, 6, 7, 12)} == {1: 6, 2: 7, 4: 8, 6: 8, 7: 9, 12: 9}
    for contrasts in range(1, 300):
        n = seeds_needed(contrasts)
        assert contrasts * 2.0 ** (1 - n) < 0.05 <= contrasts * 2.0 ** (2 - n)
        # It is the very test's limit: the smallest p that n differences can have.
        assert n > 12 or contrasts * statistics.sign_flip(np.ones(n)) < 0.05


def test_the_public_name_is_the_function_whatever_was_imported_before() -> None:
    for module in ("verdicts", "crossed", "selfcheck", "report"):
        importlib.import_module(f"fila_lab.analysis.{module}")
    assert fila_lab.power is power
    assert callable(fila_lab.power)


def test_planning_needs_neither_scipy_nor_pandas_for_it() -> None:
    code = "import sys; from fila_lab.config.power import power; power(.1, .1, 12, 3); print({'scipy', 'pandas'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_more_seeds_than_are_counted_go_on_where_those_end() -> None:
    """A study of any size has a power: near that of a z test, growing, and quick."""
    for contrasts in (1, 6, 50):
        for distance in (1.0, 2.5, 4.0):
            own = [power(distance / seeds**0.5, 1, seeds, contrasts) for seeds in (400, 500, 501, 700, 1100, 10**6, 2**31 - 1)]
            limit = stats.norm.sf(stats.norm.ppf(1 - 0.025 / contrasts) - distance)
            assert own == pytest.approx([limit] * len(own), abs=0.01)
    found = minimal_detectable_effect(0.02, 10**6, 6)
    assert found is not None
    assert power(found, 0.02, 10**6, 6) == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize("odd", ["6", None, 0, 6.5, float("nan"), float("inf"), 10**400, [6]], ids=lambda odd: str(odd)[:5])
def test_what_is_no_number_is_one_message(odd: Any) -> None:
    for arguments in ((0.05, 0.01, odd, 1), (0.05, 0.01, 6, odd)):
        with pytest.raises(ConfigError, match=r"^(seeds|contrasts) = .*: give a whole number"):
            power(*arguments)
    if odd in (0, 6.5):
        return
    for arguments in ((odd, 0.01, 6, 1), (0.05, odd, 6, 1)):
        with pytest.raises(ConfigError, match=r"^(effect|sd) = .*: give a finite number"):
            power(*arguments)
