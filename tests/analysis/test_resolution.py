"""Res-Bench's numbers against values worked out by hand, their known fault, and the arms that are put side by side."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from fila_lab.analysis.resolution import ace, falls, rce, resolution_tables, rho


def test_values_by_hand() -> None:
    scores = [0.2, 0.5, 0.4, 0.4]
    assert ace(scores) == pytest.approx(0.3 + 0.1)
    assert rce(scores) == pytest.approx(0.4 / 0.375)
    assert falls(scores) == pytest.approx(0.1)
    assert rho([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.9]) == pytest.approx(1)
    assert rho([1, 2, 3, 4], [0.2, 0.5, 0.4, 0.4]) == pytest.approx(0.316, abs=1e-3)  # ties share their ranks
    assert math.isnan(rho([1, 2], [0.3, 0.3]))
    assert math.isnan(rce([0.0, 0.0]))


def test_ace_counts_a_monotone_rise_as_instability() -> None:
    rise, fall = [0.3, 0.5, 0.8], [0.8, 0.5, 0.3]
    assert ace(rise) == ace(fall) == pytest.approx(0.5)
    assert rce(rise) == pytest.approx(rce(fall))
    assert (falls(rise), falls(fall)) == (0, pytest.approx(0.5))
    assert (rho([1, 2, 3], rise), rho([1, 2, 3], fall)) == (pytest.approx(1), pytest.approx(-1))


def config(scale: int, fusion: str, seed: int) -> dict[str, Any]:
    return {"seed": seed, "fusion": {"name": fusion}, "data": {"seam": {"page_scale": scale}}}


def found(arms: dict[str, tuple[int, str]]) -> Any:
    main = [SimpleNamespace(arm=arm, result=None, config=config(*own, seed)) for arm, own in arms.items() for seed in (0, 1)]
    rows = [{"arm": arm, "seed": seed, "exact/reading": 0.2 * own[0] + 0.01 * seed} for arm, own in arms.items() for seed in (0, 1)]
    folder = SimpleNamespace(main=main, label=str)
    return SimpleNamespace(folder=folder, frame=pd.DataFrame(rows), metric="exact/reading", measured_on="mini")


def test_arms_that_differ_in_page_scale_alone_stand_in_one_row() -> None:
    arms = {"fine": (4, "concat"), "coarse": (1, "concat"), "middle": (2, "concat"), "other": (2, "none")}
    table = resolution_tables(found(arms))["resolutions"]
    assert table.data["arms"].tolist() == ["coarse / middle / fine"]
    assert table.data["ace"][0] == pytest.approx(0.6)
    assert table.data["rce"][0] == pytest.approx((0.6 / (0.2 * 7 / 3) + 0.6 / (0.2 * 7 / 3 + 0.01)) / 2)
    assert (table.data["rho"][0], table.data["falls"][0]) == (1, 0)
    assert table.shown["ACE"][0] == "60.0"
    assert "count a monotone rise as instability" in table.caption
    assert resolution_tables(found({"one": (1, "concat"), "two": (2, "none")})) == {}
