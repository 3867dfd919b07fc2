"""Contrasts by kinds of items: against plain means, the joint test against every sign, reversals and their error rate."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report, statistics
from fila_lab.analysis.check import Check
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.headline import headline_of
from fila_lab.analysis.reversals import reversals
from fila_lab.analysis.style import rows_of
from fila_lab.analysis.subgroups import MOST_LEVELS, Subgroups, level_text
from fila_lab.config.study import Family

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
PLACES = ("cut", "sham", "intact")


def predictions(effects: dict[str, tuple[float, ...]], seeds: int = 8, items: int = 60, seed: int = 0, sd: float = 0.05) -> pd.DataFrame:
    """Arm -> its accuracy by length 1, 2, ...; one item a page. Seeds differ by sd in each arm and length."""
    rng = np.random.default_rng(seed)
    rows = []
    for (arm, levels), s in itertools.product(effects.items(), range(seeds)):
        for length, level in enumerate(levels, 1):
            chance = level + rng.normal(0, sd)
            for item, place in itertools.product(range(items), PLACES):
                name = f"{length}-{item}"
                rows.append((arm, s, name, "reading", place, f"page-{name}", length, item / items, bool(rng.random() < chance)))
    return pd.DataFrame(rows, columns=["arm", "seed", "item_id", "task", "place", "image_id", "length", "cut_fraction", "correct"])


def split(frame: pd.DataFrame, *pairs: tuple[str, ...], by: tuple[str, ...] = ("length",), checks: tuple[Check, ...] = ()) -> Subgroups:
    return Subgroups.of(frame, {"f": Family(contrasts=pairs, by=by)}, "exact/reading", checks)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return predictions({"a": (0.75, 0.3, 0.6), "b": (0.5, 0.6, 0.5), "c": (0.5, 0.5, 0.5)})


def test_levels_are_plain_means_and_the_joint_test_is_scipys(frame: pd.DataFrame) -> None:
    found = split(frame, ("a", "b"), ("c", "b"), ("a", "c"), by=("length", "place"))
    joint = []
    for by, (a, b) in itertools.product(("length", "place"), (("a", "b"), ("c", "b"), ("a", "c"))):
        wide = frame.groupby(["arm", "seed", by], observed=True)["correct"].mean().unstack([0, 2])
        table = (wide[a] - wide[b])[list(PLACES) if by == "place" else [1, 2, 3]].to_numpy()  # [seeds, levels]
        rows = found.levels.query("by == @by and a == @a and b == @b")
        assert rows["difference"].to_numpy() == pytest.approx(table.mean(axis=0))
        for row, own in zip(rows.itertuples(), table.T, strict=True):
            assert (row.low, row.high) == pytest.approx(tuple(stats.ttest_1samp(own, 0).confidence_interval()))
            assert row.items_low <= row.low + 1e-12 < row.high - 1e-12 <= row.items_high
        centred = table - table.mean(axis=1, keepdims=True)  # what differs between levels, in another basis
        signs = np.array(list(itertools.product((1, -1), repeat=8)))
        lengths = np.linalg.norm(signs @ centred, axis=1)
        joint.append(float(np.mean(lengths >= lengths[0] - 1e-9)))
    assert found.effects["p"].to_numpy() == pytest.approx(joint)
    wanted = [multipletests(joint[at : at + 3], method="holm")[1] for at in (0, 3)]
    assert found.effects["p_holm"].to_numpy() == pytest.approx(np.concatenate(wanted)), "Holm over the contrasts, a column at a time"


def test_two_levels_are_the_sign_flip_test_of_the_difference_of_differences() -> None:
    own = predictions({"a": (0.7, 0.5), "b": (0.5, 0.5)}, seeds=7)
    wide = own.groupby(["arm", "seed", "length"])["correct"].mean().unstack([0, 2])
    difference = (wide["a"] - wide["b"]).diff(axis=1)[2]
    oracle = stats.permutation_test(
        (difference.to_numpy(), np.zeros(7)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert split(own, ("a", "b")).effects["p"][0] == pytest.approx(oracle.pvalue)


def test_a_reversal_needs_both_sides(frame: pd.DataFrame) -> None:
    found = split(frame, ("a", "b"), ("a", "c"), ("c", "b")).effects.set_index(["a", "b"])
    assert found["reversal"].to_dict() == {("a", "b"): True, ("a", "c"): True, ("c", "b"): False}
    assert (found.at[("a", "b"), "up"], found.at[("a", "b"), "down"]) == ("1", "2")
    # By hand: the greater of the sides' smallest one-sided p, times three levels; Holm over three contrasts.
    by_hand = []
    for a, b in (("a", "b"), ("a", "c"), ("c", "b")):
        wide = frame.groupby(["arm", "seed", "length"])["correct"].mean().unstack([0, 2])
        table = (wide[a] - wide[b]).to_numpy()
        sides = [min(stats.ttest_1samp(own, 0, alternative=side).pvalue for own in table.T) for side in ("greater", "less")]
        by_hand.append(min(1, 3 * max(sides)))
    assert found["p_reversal_holm"].to_numpy() == pytest.approx(multipletests(by_hand, method="holm")[1])
    one_sided = predictions({"a": (0.7, 0.5, 0.5), "b": (0.5, 0.5, 0.5)})
    assert not split(one_sided, ("a", "b")).effects["reversal"].any(), "ahead in one level and level in the others"


def test_of_families_without_a_reversal_at_most_one_in_twenty_gets_the_word() -> None:
    """Six contrasts of four arms; one arm far ahead in one level, all others equal: only chance puts an arm behind."""
    rng = np.random.default_rng(0)
    hits = depends = 0
    pairs = list(itertools.combinations("abcd", 2))
    for _ in range(400):
        values = {arm: rng.normal(0, 0.01, (3, 8)) for arm in "abcd"}  # [levels, seeds]
        p, p_joint = [], []
        for a, b in pairs:
            table = values[a] - values[b]
            p_joint.append(statistics.joint_sign_flip((statistics.helmert(3) @ table).T))
            table[0] += 0.1 if a == "a" else 0
            t = table.mean(axis=1) / table.std(axis=1, ddof=1) * 8**0.5
            sides = [float(stats.t.sf(sign * t, 7).min()) * 3 for sign in (1, -1)]
            p.append(min(1.0, max(sides)))
        hits += min(analysis.holm(p)) < 0.05
        depends += min(analysis.holm(p_joint)) < 0.05
    assert hits / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert depends / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_the_p_of_a_reversal_is_the_larger_of_two_one_sided_tests_each_corrected_for_the_levels(frame: pd.DataFrame) -> None:
    for row in (row for pair in (("a", "b"), ("c", "b")) for row in split(frame, pair).effects.itertuples()):
        wide = frame.groupby(["arm", "seed", "length"], observed=True)["correct"].mean().unstack([0, 2])
        table = (wide[row.a] - wide[row.b]).to_numpy().T
        sides = [min(stats.ttest_1samp(own, 0, alternative=side).pvalue for own in table) for side in ("greater", "less")]
        assert row.p_reversal_holm == pytest.approx(max(min(1.0, len(table) * p) for p in sides))
    flat = predictions({"a": (0.5, 0.5), "b": (0.9, 0.9)})
    assert split(flat, ("a", "b")).effects["p_reversal_holm"].tolist() == [1.0], "no more than certain"


def test_levels_without_scatter_or_with_two_seeds_show_nothing() -> None:
    still = predictions({"a": (1.0, 0.0), "b": (0.0, 1.0)}, sd=0.0)
    found = split(still, ("a", "b"))
    assert found.levels["difference"].tolist() == [1.0, -1.0]
    assert not found.effects["reversal"].any()
    few = predictions({"a": (0.9, 0.1), "b": (0.1, 0.9)}, seeds=2)
    found = split(few, ("a", "b"))
    assert not found.effects["reversal"].any()
    assert found.effects["verdict"].tolist() == ["not testable"]
    assert "6 are needed" in found.effects["reason"][0]


def test_numbers_of_many_values_become_bands_and_what_says_nothing_is_left_out() -> None:
    own = predictions({"a": (0.7, 0.4), "b": (0.5, 0.5)})
    own.loc[own["length"] == 2, "length"] = 0
    found = split(own, ("a", "b"), by=("cut_fraction", "length"))
    bands = found.levels.query("by == 'cut_fraction'")
    assert len(bands) == 3
    assert bands["items"].sum() == own["item_id"].nunique()
    assert found.notes == ("f: exact/reading was not split by length: its items do not differ in it, or in too many ways",)


def test_a_failed_check_and_arms_that_were_not_run(frame: pd.DataFrame) -> None:
    broken = Check("equal steps", False, "c trained less", frozenset({"c"}))
    found = split(frame, ("a", "b"), ("c", "b"), ("a", "x"), checks=(broken,))
    assert found.effects["verdict"].tolist() == ["depends on it", "not comparable"]
    assert found.effects["contrasts"].tolist() == [3, 3]
    assert not found.effects["reversal"][1]


def test_cells_with_other_items_and_no_predictions_are_said(frame: pd.DataFrame) -> None:
    family = {"f": Family(contrasts=(("a", "b"),), by=("length",))}
    assert "there are no predictions" in Subgroups.of(None, family, "exact/reading").notes[0]
    found = split(frame.drop(index=frame.index[5]), ("a", "b"))
    assert found.levels["level"].tolist() == ["2", "3"], "cells differ in an item of length 1"
    assert found.notes == ("f: exact/reading by length leaves out a level, for cells were tested on other items of it: length 1",)


def test_a_contrast_whose_arms_differ_in_the_column_is_named(frame: pd.DataFrame) -> None:
    """What one arm calls a level may be no level of the other's: then nothing of theirs is paired, and the page says so."""
    own = frame.assign(length=frame["length"].where(frame["arm"] != "c", 9))
    found = split(own, ("a", "b"), ("c", "b"))
    assert set(zip(found.levels["a"], found.levels["b"], strict=True)) == set()
    assert found.notes == ("f: a − b, c − b not split by length: the items of its arms differ in it, so nothing is paired",)


@pytest.mark.parametrize("first", PLACES)
def test_bands_hold_every_row_whatever_the_order_of_an_items_places(frame: pd.DataFrame, first: str) -> None:
    """A column may say another number at each place of an item; no place drops out of its metric for that."""
    own = frame.assign(cut_fraction=frame["cut_fraction"] + frame["place"].map({"cut": 0.0, "sham": 10.0, "intact": 20.0}))
    own = pd.concat([own[own["place"] == first], own[own["place"] != first]])
    found = split(own, ("a", "b"), by=("cut_fraction",))
    assert found.levels["level"].tolist() == ["0 to 6.99", "6.99 to 14", "14 to 21"]
    assert found.levels["items"].tolist() == [180, 180, 180]


def test_the_published_comparison_of_fusions_depends_on_place_and_length() -> None:
    """What the means over all items hide: cross-attention is ahead where a seam cuts, and behind addition where it does not."""
    own = analysis.load_predictions(RESULTS / "fusion_methods")
    pairs = (("concat", "addition"), ("cross_attention", "addition"))
    found = split(own, *pairs, by=("place", "length"))
    points = {(r.a, r.by, r.level): round(100 * r.difference, 1) for r in found.levels.itertuples()}
    assert (points["concat", "place", "cut"], points["concat", "place", "intact"]) == (-0.6, -3.8)
    assert (points["cross_attention", "place", "cut"], points["cross_attention", "place", "intact"]) == (5.0, -1.8)
    assert points["concat", "length", "1"] == 0.4
    longer = own[(own["task"] == "reading") & (own["length"] > 1)].groupby(["arm", "seed"])["correct"].mean().unstack(0)
    assert 100 * (longer["concat"] - longer["addition"]).mean() == pytest.approx(-7.5, abs=0.05)
    assert (found.effects["verdict"] == "depends on it").all()
    turned = {(r.a, r.by): (r.up, r.down) for r in found.effects.itertuples() if r.reversal}
    assert set(turned) == {("cross_attention", "place"), ("cross_attention", "length")}, "+0.4 on one character is not shown to be above 0"
    assert turned["cross_attention", "place"] == ("cut", "intact")


def test_a_reversal_is_a_signature_and_stands_in_every_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])
    accuracy = {"none": (0.75, 0.5, 0.3), "concat": (0.4, 0.5, 0.7)}
    out = write_study(tmp_path / "out", arms=("none", "concat"), triplets=120, tuning=False, accuracy=accuracy)
    findings = Findings.of(out)
    (sign,) = reversals(findings).signs
    assert "concat − none by place: intact +" in sign.numbers
    assert "cut −" in sign.numbers
    assert any("concat − none by place" in line for line in headline_of(findings))
    analysis.write_report(findings)
    markdown = (out / "report" / "report.md").read_text(encoding="utf-8")
    assert "By kinds of items" in markdown
    assert "intact against cut" in markdown
    assert "reversal between subgroups" in markdown
    assert len(pd.read_csv(out / "report" / "tables" / "subgroups.csv")) == 3
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings))
    said = console.export_text()
    assert "reversal between subgroups" in said
    assert "differences that depend on the kind of items" in said


def test_without_a_reversal_the_rule_says_what_it_could_have_found(tmp_path: Path) -> None:
    out = write_study(tmp_path / "out", arms=("none", "concat"), triplets=60, tuning=False)
    applied = reversals(Findings.of(out))
    assert not applied.signs
    assert "points both ways, over 1 contrast and column" in applied.reach
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    del plan["study"]["families"]["methods"]["by"]
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert "no family declares `by`" in reversals(Findings.of(out)).unchecked


def _split_by(own: pd.DataFrame, values: object, column: str = "axis") -> Subgroups:
    return split(own.assign(**{column: values}), ("a", "b"), by=(column,))


def test_one_level_may_be_stored_in_different_types_by_different_cells(frame: pd.DataFrame) -> None:
    own = frame["length"]
    stored = [{"a": str(value), "b": float(value), "c": int(value)}[arm] for arm, value in zip(frame["arm"], own, strict=True)]
    pd.testing.assert_frame_equal(_split_by(frame, pd.Series(stored, dtype=object)).levels, _split_by(frame, own).levels)


@pytest.mark.parametrize("offset", [0, 1000, 1e9])
def test_bands_of_values_that_differ_little_have_names_of_their_own(frame: pd.DataFrame, offset: float) -> None:
    values = offset + frame["cut_fraction"]
    levels = _split_by(frame, values, "cut_fraction").levels["level"]
    assert levels.nunique() == len(levels) == 3
    infinite = values.where(frame["cut_fraction"] < 0.9, np.inf)
    assert _split_by(frame, infinite, "cut_fraction").levels["level"].nunique() == 3


def test_levels_are_in_their_natural_order_whichever_comes_first(frame: pd.DataFrame) -> None:
    texts = frame["length"].map({1: "10 px", 2: "b", 3: "9"})
    assert list(_split_by(frame, texts).levels["level"]) == ["9", "10 px", "b"]


@pytest.mark.parametrize(("kinds", "shown"), [(MOST_LEVELS, MOST_LEVELS), (MOST_LEVELS + 1, 0)])
def test_a_column_of_too_many_words_is_not_split(frame: pd.DataFrame, kinds: int, shown: int) -> None:
    words = frame["item_id"].str.split("-").str[1].astype(int).mod(kinds).map("kind {}".format)
    assert len(_split_by(frame, words).levels) == shown


def test_a_column_or_a_task_that_is_not_there_is_not_split(frame: pd.DataFrame) -> None:
    found = split(frame, ("a", "b"), by=("nowhere",))
    assert found.levels.empty
    assert "not split by nowhere" in found.notes[0]


def test_zero_is_a_level_where_it_says_something(frame: pd.DataFrame) -> None:
    zeros = frame["length"] - 1
    assert list(_split_by(frame, zeros).levels["level"]) == ["0", "1", "2"]
    assert list(_split_by(frame, zeros, "length").levels["level"]) == ["1", "2"], "the length of what is no code"


@pytest.mark.parametrize("arm", [None, "a"])
def test_a_seed_without_items_of_a_level_is_left_out_of_all_levels(frame: pd.DataFrame, arm: str | None) -> None:
    gone = (frame["seed"] == 2) & (frame["length"] == 2)
    kept = frame[~(gone & (frame["arm"] == arm if arm else True))]
    found, wanted = split(kept, ("a", "b")), split(frame[frame["seed"] != 2], ("a", "b"))
    assert list(found.levels["n"]) == [7, 7, 7]
    columns = ["level", "difference", "low", "high"]
    pd.testing.assert_frame_equal(found.levels[columns], wanted.levels[columns])
    assert found.effects["p"].to_list() == wanted.effects["p"].to_list()


def exact_levels(effects: dict[str, tuple[int, ...]], seeds: int = 6, items: int = 40) -> pd.DataFrame:
    """As `predictions`, but each arm has so many of a level's items right, by place, in every seed; which ones turns with the seed."""
    rows = []
    for (arm, levels), s in itertools.product(effects.items(), range(seeds)):
        for length, right in enumerate(levels, 1):
            for item, place in itertools.product(range(items), PLACES):
                name = f"{length}-{item}"
                rows.append((arm, s, name, "reading", place, f"page-{name}", length, (item + 7 * s) % items < right))
    return pd.DataFrame(rows, columns=["arm", "seed", "item_id", "task", "place", "image_id", "length", "correct"])


@pytest.mark.parametrize(
    ("right", "flag"), [((37, 20), "ceiling"), ((36, 20), ""), ((7, 20), "floor"), ((9, 20), ""), ((7, 37), "floor"), ((20, 20), "")]
)
def test_a_level_in_which_an_arm_is_near_the_floor_or_the_ceiling_says_so(right: tuple[int, int], flag: str) -> None:
    """Below a fifth, above nine tenths; where both are met the floor is said."""
    found = split(exact_levels({"a": (right[0], 20), "b": (right[1], 20)}), ("a", "b"))
    assert found.levels["flag"].tolist() == [flag, ""]
    text = level_text(next(rows_of(found.levels)))
    assert text.startswith("1 ")
    assert text.endswith(f" ({flag})" if flag else "]")
    gap = Subgroups.of(
        exact_levels({"a": (37, 20), "b": (20, 20)}), {"f": Family(contrasts=(("a", "b"),), by=("length",))}, "seam_gap/reading"
    )
    assert set(gap.levels["flag"]) == {""}, "a gap has no floor and no ceiling"


def turned(images: tuple[int, ...], sizes: tuple[float, ...], seeds: int = 8) -> pd.DataFrame:
    """Level -> how many images it has, and by how much a is ahead of b; seeds differ by a hundredth, images by much."""
    rng = np.random.default_rng(1)
    rows = []
    for level, (many, size) in enumerate(zip(images, sizes, strict=True), 1):
        each = max(1, 4800 // many)  # items on a page: the seeds' means scatter little, however few the pages
        lean = 0.45 * (-1.0) ** np.arange(many) if many < 40 else np.zeros(many)
        for s in range(seeds):
            for arm, sign in (("a", 0.5), ("b", -0.5)):
                for page in range(many):
                    chance = np.clip(0.5 + sign * (size + lean[page] + rng.normal(0, 0.01)), 0, 1)
                    for item, right in enumerate(rng.random(each) < chance):
                        name = f"{level}-{page}-{item}"
                        rows.append((arm, s, name, "reading", "cut", f"page-{level}-{page}", level, bool(right)))
    return pd.DataFrame(rows, columns=["arm", "seed", "item_id", "task", "place", "image_id", "length", "correct"])


@pytest.mark.parametrize(
    ("images", "sizes", "mark"),
    [
        ((300, 300), (0.2, -0.2), ""),
        ((4, 4), (0.2, -0.2), "this pool only"),
        ((300, 4), (0.2, -0.2), "this pool only"),
        ((4, 300), (0.2, -0.2), "this pool only"),
    ],
)
def test_a_reversal_of_which_one_side_rests_on_few_images_holds_for_this_pool_only(
    images: tuple[int, ...], sizes: tuple[float, ...], mark: str
) -> None:
    (effect,) = rows_of(split(turned(images, sizes), ("a", "b")).effects)
    assert (effect.up, effect.down) == ("1", "2")
    assert effect.reversal
    assert effect.mark == mark


def test_a_level_without_scatter_confirms_no_reversal_for_new_items() -> None:
    """In every seed a is right and b is wrong there: that is ahead, not behind, and says nothing of the level where a is behind."""
    still = exact_levels({"a": (40,), "b": (0,)}, seeds=8).assign(length=3)
    own = pd.concat([turned((300, 4), (0.2, -0.2)), still])
    (effect,) = rows_of(split(own, ("a", "b")).effects)
    assert (effect.up, effect.down, effect.mark) == ("1", "2", "this pool only")


def test_no_reversal_has_no_mark() -> None:
    (effect,) = rows_of(split(turned((4, 4), (0.2, 0.2)), ("a", "b")).effects)
    assert not effect.reversal
    assert effect.mark == ""
