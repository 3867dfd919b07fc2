"""Seeds over tower pairs: each contrast pair by pair, and whether pairs differ more than seeds explain."""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.pair_tables import pair_alarms, pair_tables
from fila_lab.analysis.pairs import ALIKE, DIFFER, PairContrasts
from fila_lab.analysis.permutation import between_groups, deals, detectable_spread, least_p
from fila_lab.analysis.statistics import t_quantile
from fila_lab.analysis.style import number
from fila_lab.config.study import Family

TOWERS = [{"vit": f"v{n}.safetensors", "convnext": f"c{n}.safetensors"} for n in range(3)]
FAMILY = {"fusion": Family(contrasts=(("a", "b"),))}


def test_the_permutation_test_counts_every_way_to_deal_the_values() -> None:
    rng = np.random.default_rng(0)
    for groups in ([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 0], [0, 0, 0, 1]):
        x = rng.normal(size=len(groups))

        def spread(order: tuple[int, ...], x: np.ndarray = x, groups: list[int] = groups) -> float:
            own = [x[[order[n] for n in range(len(x)) if groups[n] == name]] for name in set(groups)]
            return sum(len(each) * (each.mean() - x.mean()) ** 2 for each in own)

        every = [spread(order) for order in itertools.permutations(range(len(x)))]
        expected = np.mean([value >= spread(tuple(range(len(x)))) - 1e-12 for value in every])
        assert between_groups(x, groups) == pytest.approx(expected)


def test_the_smallest_p_is_that_of_groups_apart() -> None:
    groups = [0, 1, 2] * 4
    apart = [10.0 * group + 0.1 * n for n, group in enumerate(groups)]
    assert deals([4, 4, 4]) == 34650
    assert between_groups(apart, groups) == pytest.approx(least_p([4, 4, 4])) == pytest.approx(6 / 34650)
    assert between_groups([1.0] * 12, groups) == 1.0
    assert math.isnan(between_groups([1.0, 2.0], [1, 1]))


def test_many_values_are_dealt_at_random_with_the_observed_counted() -> None:
    x, groups = np.random.default_rng(1).normal(size=30), [0, 1, 2] * 10
    p = between_groups(x, groups)
    assert p == between_groups(x, groups)
    assert 0.001 < p < 1
    assert between_groups(x + 5 * np.array(groups), groups) < 1e-4


def test_what_three_times_four_seeds_can_find_is_the_f_tests() -> None:
    """Of normal effects F / (1 + seeds a pair * ratio^2) is F-distributed: 80 % power at the ratio, by simulation of the F test."""
    ratio, rng = detectable_spread([4, 4, 4]), np.random.default_rng(2)
    x = rng.normal(size=(20000, 3, 4)) + ratio * rng.normal(size=(20000, 3, 1))
    between = 4 * x.mean(axis=2).var(axis=1, ddof=1)
    within = x.var(axis=2, ddof=1).mean(axis=1)
    assert np.mean(between / within > 4.2565) == pytest.approx(0.8, abs=0.01)  # the 95 % point of F(2, 9)
    assert detectable_spread([4, 4, 4], contrasts=5) > ratio
    assert math.isnan(detectable_spread([1, 1, 1]))


def _frame(differences: list[float]) -> pd.DataFrame:
    """Arms a and b whose differences by seed are these; seed s on pair s mod 3."""
    rows = []
    for seed, difference in enumerate(differences):
        base = 0.5 + 0.01 * seed
        rows += [{"arm": "a", "seed": seed, "exact/reading": base + difference}, {"arm": "b", "seed": seed, "exact/reading": base}]
    return pd.DataFrame(rows).assign(pair=lambda frame: frame["seed"] % 3)


def test_each_pairs_difference_and_the_interval_over_pairs_by_hand() -> None:
    found = PairContrasts.of(_frame([0.01, 0.04, 0.10, 0.03, 0.06, 0.12]), FAMILY, "exact/reading")
    assert found.levels["difference"].tolist() == pytest.approx([0.02, 0.05, 0.11])
    assert found.levels["n"].tolist() == [2, 2, 2]
    (effect,) = found.effects.itertuples()
    assert effect.difference == pytest.approx(0.06)
    half = t_quantile(0.975, 2) * np.std([0.02, 0.05, 0.11], ddof=1) / 3**0.5
    assert (effect.pairs_low, effect.pairs_high) == pytest.approx((0.06 - half, 0.06 + half))
    assert (effect.signs, effect.pairs, effect.n) == (3, 3, 6)
    assert effect.verdict == "not testable"  # 2 + 2 + 2 seeds can be dealt in 15 ways that differ


def test_pairs_that_differ_are_told_and_those_that_do_not_are_not() -> None:
    rng = np.random.default_rng(3)
    seeds = rng.normal(0, 0.005, 12)
    apart = PairContrasts.of(_frame([0.05 * (n % 3) + seeds[n] for n in range(12)]), FAMILY, "exact/reading")
    assert apart.effects["verdict"].tolist() == [DIFFER]
    alike = PairContrasts.of(_frame([0.05 + seeds[n] for n in range(12)]), FAMILY, "exact/reading")
    assert alike.effects["verdict"].tolist() == [ALIKE]
    assert PairContrasts.of(_frame([0.1] * 12).drop(columns="pair"), FAMILY, "exact/reading").effects.empty


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study of three arms, 12 seeds over three pairs, each with towers of its own; a family has a metric of its own."""
    out = tmp_path_factory.mktemp("pairs") / "study"
    write_study(out, arms=("none", "concat", "addition"), seeds=range(12), triplets=20, tuning=False)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    for cell in plan["cells"]:
        cell["config"] |= {"tower_pairs": TOWERS}
        for room in ("vit", "convnext"):
            cell["config"][room] |= {"weights": TOWERS[cell["seed"] % 3][room]}
        for name, change in (("result", {"config": cell["config"]}), ("manifest", {"weights": {"vit": f"{cell['seed'] % 3}" * 64}})):
            path = out / "cells" / cell["id"] / f"{name}.json"
            path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    plan["study"]["families"]["at_seams"] = {"metric": "exact/reading/cut", "contrasts": [["concat", "none"]]}
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return out


def test_every_table_says_over_how_many_pairs_it_speaks(study: Path) -> None:
    findings = Findings.of(study)
    assert findings.measured_on == "mini, 3 tower pairs"
    assert "with 3 tower pairs" in findings.limits
    assert list(findings.frame.columns[:4]) == ["arm", "seed", "id", "pair"]
    assert (findings.frame["pair"] == findings.frame["seed"] % 3).all()
    table = pair_tables(findings)["pairs"]
    assert findings.measured_on in table.caption
    assert [name for name in table.shown if name.startswith("pair ")] == [f"pair {n} (seeds)" for n in range(3)]
    shown = table.shown.set_index(["family", "A − B"])["all seeds [95 %]"]
    for row in findings.verdicts.itertuples():
        if row.n:
            assert shown[row.family, f"{row.a} − {row.b}"].startswith(number(row.difference * 100, sign=True))
    assert set(table.shown["A − B"]) >= {"concat − none", "addition − none"}
    assert set(table.shown["family"]) == set(findings.verdicts.loc[findings.verdicts["n"] > 0, "family"]) >= {"at_seams: exact/reading/cut"}


def test_cells_of_other_pairs_may_load_other_towers(study: Path) -> None:
    """Weights differ within an arm by its pairs, and by nothing else."""
    findings = Findings.of(study)
    assert not [check for check in findings.checks if check.passed is False]
    manifests = findings.manifests.copy()
    from fila_lab.analysis.selfcheck import environment_check

    manifests.loc[manifests.index[0], "weights.vit"] = "9" * 64
    assert environment_check(manifests).passed is False


def test_report_and_terminal_show_pairs(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the figures, the one that marks pairs is drawn."""
    monkeypatch.setattr(report, "draw_figures", functools.partial(report.draw_figures, names=("differences",)))
    findings = Findings.of(study)
    page = analysis.write_report(findings, to=tmp_path / "report")
    assert (page.parent / "figures" / "differences.svg").is_file()
    assert "Pair by pair" in page.read_text(encoding="utf-8")
    assert "## Pair by pair" in (page.parent / "report.md").read_text(encoding="utf-8")
    console = Console(file=io.StringIO(), width=300)
    console.print(analysis.terminal_summary(findings))
    assert "pair by pair" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_contrast_that_depends_on_the_towers_is_an_alarm(study: Path) -> None:
    findings = Findings.of(study)
    assert [alarm.kind for alarm in pair_alarms(findings)] == []
    frame = findings.frame.copy()
    frame.loc[frame["arm"] == "concat", "exact/reading"] -= 0.4 * (frame["pair"] == 2)
    changed = Findings(findings.folder, frame[frame["seed"] != 11])
    spoilt = {alarm.kind for alarm in pair_alarms(changed)}
    assert "depends on the towers" not in spoilt  # the metrics are not those of the predictions: nothing is said
    sound = Findings(findings.folder, changed.frame)
    sound.__dict__["checks"] = []
    kinds = {alarm.kind: alarm.text for alarm in pair_alarms(sound)}
    assert kinds["tower pairs unequal"].startswith("4, 4, 3 seeds")
    assert "not even in sign" in kinds["depends on the towers"]
    assert "concat − none" in kinds["depends on the towers"]
