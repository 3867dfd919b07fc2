"""Failure signatures: silent on a clean study, and each fires, with its numbers, on a study built to trip it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.signatures import RULES, Outcome, check_signatures

CLEAN = {  # arm -> reading, its seam gap, its fragmentation errors, coarse
    "none": (0.55, 0.06, 0.10, 0.80),
    "concat": (0.65, 0.02, 0.06, 0.80),
    "addition": (0.64, 0.03, 0.07, 0.80),
    "cross_attention": (0.68, 0.02, 0.05, 0.81),
    "foreign": (0.545, 0.06, 0.10, 0.80),
    "oracle_map": (0.97, 0.00, 0.01, 0.98),
}
METRICS = ("exact/reading", "seam_gap/reading", "fragmentation/reading", "exact/coarse")


@pytest.fixture
def simulated(full_findings: Findings) -> Findings:
    return full_findings


def _study(findings: Findings, **changed: tuple[float, float, float, float]) -> Findings:
    """The simulated study with constructed metrics; seeds and arms scatter by half a point or less."""
    frame = findings.frame.copy()
    rng = np.random.default_rng(3)
    shared = _centred(rng.normal(0, 0.004, (8, len(METRICS))))
    for arm, values in (CLEAN | changed).items():
        own = frame["arm"] == arm
        scatter = shared[frame.loc[own, "seed"]] + _centred(rng.normal(0, 0.001, (int(own.sum()), len(METRICS))))
        frame.loc[own, list(METRICS)] = np.array(values) + scatter
    frame["n/reading"] = 1700.0
    frame["seam_gap/coarse"] = 0.0
    return Findings(findings.folder, frame)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0)


def _outcome(findings: Findings, name: str) -> Outcome:
    return next(outcome for outcome in check_signatures(findings) if outcome.rule.name == name)


def _signs(findings: Findings, name: str) -> dict[str, Any]:
    outcome = _outcome(findings, name)
    assert not outcome.unchecked, outcome.unchecked
    return {sign.where: sign for sign in outcome.signs}


def _edited(source: Path, target: Path, cells: str, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a folder in which the results of the matching cells were edited."""
    out = Path(shutil.copytree(source, target))
    for path in sorted((out / "cells").glob(f"{cells}/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        edit(result)
        path.write_text(json.dumps(result), encoding="utf-8")
    return out


def test_a_clean_study_trips_no_rule_and_every_rule_was_checked(simulated: Findings) -> None:
    outcomes = check_signatures(_study(simulated))
    assert {outcome.rule.name: (outcome.signs, outcome.unchecked) for outcome in outcomes} == {rule.name: ((), "") for rule in RULES}
    assert [outcome.rule.name for outcome in outcomes if not outcome.signs and not outcome.unchecked] == [rule.name for rule in RULES]
    assert all(outcome.reach for outcome in outcomes), "a rule that finds nothing says what it could have found"


def test_a_gap_that_a_fusion_does_not_shrink(simulated: Findings) -> None:
    signs = _signs(_study(simulated, concat=(0.65, 0.07, 0.06, 0.80)), "seam errors")
    assert list(signs) == ["concat, reading"]
    assert signs["concat, reading"].value == pytest.approx(1.0, abs=0.1)
    assert "seam gap 7.0 against 6.0 of none: +1.0" in signs["concat, reading"].numbers
    # A smaller gap is no sign, however little smaller.
    assert not _signs(_study(simulated, concat=(0.65, 0.055, 0.06, 0.80)), "seam errors")


def test_more_fragmentation_errors_than_without_fusion(simulated: Findings) -> None:
    signs = _signs(_study(simulated, addition=(0.64, 0.03, 0.12, 0.80)), "seam errors")
    assert list(signs) == ["addition, reading"]
    assert "fragmentation errors 12.0 against 10.0 of none" in signs["addition, reading"].numbers
    assert "able to break" in signs["addition, reading"].numbers


def test_a_gap_of_another_phase_of_the_stride_is_no_seams_by_itself(simulated: Findings, tmp_path: Path) -> None:
    """concat at k = 2 and addition at native k both have a wider gap and more errors; of concat's nobody says that a seam is the cause."""
    out = _edited(simulated.folder.out, tmp_path / "out", "concat-*", lambda result: result["config"]["geometry"].update(detail_cells=2))
    wide = dict.fromkeys(("concat", "addition"), (0.65, 0.07, 0.12, 0.8))
    outcome = _outcome(_study(Findings.of(out), **wide), "seam errors")
    said = [(sign.where, sign.numbers.endswith("so the seam need not be the cause")) for sign in outcome.signs]
    assert sorted(said) == [("addition, reading", False)] * 2 + [("concat, reading", True)] * 2
    over = _signs(_study(Findings.of(out), concat=(0.65, 0.02, 0.06, 0.75)), "over-fusion")
    assert "the seam" not in over["concat, coarse"].numbers, "places together are not concerned"


def test_an_arm_without_a_fusion_does_not_fuse_too_much(simulated: Findings, tmp_path: Path) -> None:
    """A rival by other tiles may lose as much: that is another matter."""
    out = _edited(simulated.folder.out, tmp_path / "out", "concat-*", lambda result: result["config"]["fusion"].update(name="none"))
    lost = _study(Findings.of(out), concat=(0.65, 0.02, 0.06, 0.75))
    lost.folder.study.arms["concat"] = lost.folder.study.arms["concat"].model_copy(update={"role": "rival"})
    assert not _signs(lost, "over-fusion")


def test_a_loss_beyond_the_margin_on_coarse_items(simulated: Findings) -> None:
    signs = _signs(_study(simulated, concat=(0.65, 0.02, 0.06, 0.75), addition=(0.64, 0.03, 0.07, 0.78)), "over-fusion")
    assert list(signs) == ["concat, coarse"], "addition loses 2 points, the margin is 3"
    assert signs["concat, coarse"].high < 0
    assert signs["concat, coarse"].limit == -3.0


def test_a_control_that_gains_is_weighed_against_its_fusion(simulated: Findings) -> None:
    signs = _signs(_study(simulated, foreign=(0.58, 0.06, 0.10, 0.80)), "a control that also gains")
    assert list(signs) == ["foreign"]
    assert "30% of what concat gains (+10.0)" in signs["foreign"].numbers, "3 of 10 points"
    assert signs["foreign"].meaning == "this much needs nothing of the page: it is capacity"


def test_a_ceiling_that_does_not_gain_makes_the_instrument_blind(simulated: Findings) -> None:
    assert list(_signs(_study(simulated, oracle_map=(0.55, 0.06, 0.1, 0.8)), "blind instrument")) == ["oracle_map"]


def test_floor_and_ceiling_by_task(simulated: Findings) -> None:
    signs = _signs(_study(simulated, none=(0.15, 0.06, 0.1, 0.92), concat=(0.65, 0.02, 0.06, 0.95)), "floor or ceiling")
    assert signs["coarse"].numbers == "2 of 5 arms above 90%: 92.0 % (none) to 95.0 % (concat)"
    assert signs["reading"].numbers == "1 of 5 arms below 20%: 15.0 % (none)"


def test_seeds_that_spread_beyond_their_items(simulated: Findings) -> None:
    found = _study(simulated)
    own = found.frame["arm"] == "concat"
    found.frame.loc[own, "exact/reading"] = [0.60, 0.70] * 4
    signs = _signs(found, "seed instability")
    assert list(signs) == ["concat"]
    # By hand: the sd of four .60 and four .70 is .05 * sqrt(8 / 7); sqrt(.65 * .35 / 1700) is .01157.
    assert "5.3 points (sd of 8), 4.6 times the 1.2 of 1700 independent items" in signs["concat"].numbers


def _rising(falling: bool) -> Callable[[dict[str, Any]], None]:
    """Validation at two steps, each cell's own within half a point; the learning rate falls to nothing, or does not."""

    def edit(result: dict[str, Any]) -> None:
        for point in result["curve"]:
            own = (result["config"]["seed"] - 3.5) / 1000 * (point["step"] == 1000)
            point["validation"] = point["step"] / 2000 + own if point["step"] in (500, 1000) else None
            point["learning_rate"] = 2e-3 * (1 - point["step"] / 1000 if falling else 1)

    return edit


def test_a_baseline_that_still_rises_at_a_steady_learning_rate(full_study: Path, tmp_path: Path) -> None:
    signs = _signs(Findings.of(_edited(full_study, tmp_path / "rising", "none-0*", _rising(falling=False))), "under-trained baseline")
    # By hand: 25 points a doubling, and a quarter more steps is log2(1.25) = .3219 of one: 8.0 points.
    assert "+25.0 points from step 500 to 1000; at that rate per doubling 25% more steps add about +8.0" in signs["none"].numbers


def test_a_rise_while_the_learning_rate_falls_is_no_sign(full_study: Path, tmp_path: Path) -> None:
    findings = Findings.of(_edited(full_study, tmp_path / "falling", "none-0*", _rising(falling=True)))
    outcome = _outcome(findings, "under-trained baseline")
    assert not outcome.signs
    assert "from step 500 to 1000 validation accuracy rose by +25.0 points, but the learning rate fell from 0.001 to 0" in outcome.unchecked


def test_a_baseline_that_gains_from_longer_training_is_under_trained(full_study: Path, tmp_path: Path) -> None:
    """The arm `addition` as `none` trained twice as long: the one comparison that tells, whatever the learning rate did."""

    def longer(result: dict[str, Any]) -> None:
        result["config"] = json.loads((full_study / "cells" / "none-0000" / "result.json").read_text(encoding="utf-8"))["config"]
        result["config"]["train"]["steps"] *= 2

    findings = Findings.of(_edited(full_study, tmp_path / "longer", "addition-0*", longer))
    assert list(_signs(_study(findings, addition=(0.60, 0.06, 0.10, 0.80)), "under-trained baseline")) == ["none"]
    outcome = _outcome(_study(findings, addition=(0.56, 0.06, 0.10, 0.80)), "under-trained baseline")
    assert not outcome.signs, "one point is less than the margin of 3"
    assert outcome.reach == "a gain from longer training of 3.0 points, over 1 comparison"


def test_a_tuned_value_at_the_edge_is_seen_with_and_without_its_trials(full_study: Path, tmp_path: Path) -> None:
    def fast(result: dict[str, Any]) -> None:
        result["config"]["train"]["learning_rate"] = 9.9e-3

    out = _edited(full_study, tmp_path / "fast", "concat-0*", fast)
    for trial in (out / "cells").glob("*-t*"):
        shutil.rmtree(trial)
    signs = _signs(Findings.of(out), "tuned value at the edge of its range")
    assert {where: sign.value for where, sign in signs.items()} == {"concat": 9.9e-3}
    assert "searched from 0.0003 to 0.01" in signs["concat"].numbers


def test_out_of_memory_names_resolution_and_part(full_study: Path, tmp_path: Path) -> None:
    frames = ("lightning/trainer.py", "timm/models/convnext.py", "torch/nn/conv.py")
    deep = "\n".join(f'  File "{path}", line 1, in call' for path in frames)

    def broken(result: dict[str, Any]) -> None:
        result |= {"status": "failed", "metrics": {}}
        result["failure"] = {"kind": "out_of_memory", "message": "DefaultCPUAllocator", "traceback": deep}

    def killed(result: dict[str, Any]) -> None:
        result |= {"status": "failed", "metrics": {}}
        result["failure"] = {"kind": "error", "message": "its worker was killed (signal 9: by hand, or by the kernel when memory ran out)"}

    out = _edited(full_study, tmp_path / "one", "concat-000[01]", broken)
    out = _edited(out, tmp_path / "two", "cross_attention-0003", killed)
    signs = _signs(Findings.of(out), "out of memory")
    assert signs["concat"].numbers == "2 of 12 cells, in the ConvNeXt; detail_cells = 3 (96 px a tile), batch 64"
    assert signs["cross_attention"].numbers.startswith("1 of 12 whose worker was killed, by hand or for want of memory, where in the model")
    assert "addition" not in signs, "it failed for another cause"


def test_arms_are_compared_with_the_counterpart_of_their_own_scale(full_study: Path, tmp_path: Path) -> None:
    """An arm that was trained longer has no arm without fusion beside it: nothing is said about it."""

    def longer(result: dict[str, Any]) -> None:
        result["config"]["train"]["steps"] *= 2

    out = _edited(full_study, tmp_path / "longer", "concat-0*", longer)
    findings = _study(Findings.of(out), concat=(0.65, 0.09, 0.2, 0.6), addition=(0.64, 0.03, 0.07, 0.7))
    assert list(_signs(findings, "over-fusion")) == ["addition, coarse"]
    assert not _signs(findings, "seam errors")


def test_a_single_seed_is_said_to_be_unchecked(tmp_path: Path) -> None:
    outcomes = {outcome.rule.name: outcome for outcome in check_signatures(Findings.of(write_study(tmp_path, seeds=(0,), triplets=12)))}
    for name in (
        "seam errors",
        "over-fusion",
        "a control that also gains",
        "blind instrument",
        "under-trained baseline",
        "seed instability",
    ):
        assert outcomes[name].unchecked, name
        assert not outcomes[name].signs
    assert not outcomes["out of memory"].unchecked


def test_the_report_states_each_sign_once_and_what_was_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])  # they take most of a report's time

    def fast(result: dict[str, Any]) -> None:
        result["config"]["train"]["learning_rate"] = 9.9e-3

    small = write_study(tmp_path / "small", arms=("none", "concat"), seeds=(0, 1, 2), triplets=12)
    out = _edited(small, tmp_path / "out", "concat-0*", fast)
    findings = Findings.of(out)
    page = analysis.write_report(findings).read_text(encoding="utf-8")
    said = "train.learning_rate at the edge of its range: 0.0099, searched from 0.0003 to 0.01"
    assert page.count(said) == 2, "among the alarms, and with its rule"
    assert page.index("Alarms") < page.index(said) < page.index("Not comparable")
    assert said in (out / "report" / "tables" / "signatures.csv").read_text(encoding="utf-8")
    assert "chance alone raises an alarm in at most" in page
    markdown = (out / "report" / "report.md").read_text(encoding="utf-8")
    assert f"  - concat: {said}" in markdown
    assert "Checked and found nothing; it could have found:" in markdown
    assert "- out of memory: one such cell; none of 14 cells failed" in markdown
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings))
    lines = console.export_text().splitlines()
    assert sum(line.startswith("Warning, tuned value at the edge of its range: concat: ") for line in lines) == 1
    assert sum(line.startswith("Checked and found nothing: ") for line in lines) == 1


def test_every_rule_says_itself_and_what_to_do() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.says and rule.remedy and not rule.says.endswith(".") for rule in RULES)
