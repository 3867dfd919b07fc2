"""How measured latency grows with counted FLOPs: a line through the sizes, component by component."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fila_lab.config.fusion_points import COMPONENT

LEAST = 3
"""Different sizes that a line needs to leave anything to judge it by."""
LEFT_OUT = ("other", "whole", "language new token")
ALL_ARMS = "all"
"""Stands for the arm where a component is the same in every arm: towers, projector, language model."""
COLUMNS = [
    *("arm", "component", "precision", "threads", "device", "points", "a_ms", "b_ms_per_flop", "flops_per_second"),
    *("share_of_matmul_peak", "r_squared", "largest_residual_share"),
]


def fits(frame: pd.DataFrame) -> pd.DataFrame:
    """Component and setting -> a and b of latency = a + b * FLOPs by least squares over all measured sizes of at least LEAST different
    FLOPs; the encoder and its fusion points arm by arm, since arms do other work. flops_per_second is 1 / b; largest_residual_share is the
    greatest deviation from the line as a share of what was measured."""
    rows = []
    known = frame[frame["latency_ms"].notna() & ~frame["component"].isin(LEFT_OUT)]
    own = known["component"].str.match(f"encoder|{COMPONENT}")
    known = known.assign(arm=known["arm"].where(own, ALL_ARMS))
    setting = ["arm", "component", "precision", "threads", "device"]
    for key, cases in known.groupby(setting, sort=False):
        points = cases.groupby("flops")["latency_ms"].median()
        if len(points) >= LEAST:
            rows.append({**dict(zip(setting, key, strict=True)), **_line(points, cases)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _line(points: pd.Series[float], cases: pd.DataFrame) -> dict[str, Any]:
    flops, measured = points.index.to_numpy(float), points.to_numpy(float)
    slope, offset = np.polyfit(flops, measured, 1)
    residuals = measured - (offset + slope * flops)
    spread = float(((measured - measured.mean()) ** 2).sum())
    speed = 1000 / slope if slope > 0 else float("nan")
    return {
        "points": len(points),
        "a_ms": offset,
        "b_ms_per_flop": slope,
        "flops_per_second": speed,
        "share_of_matmul_peak": speed / cases["matmul_flops_per_second"].iloc[0],
        "r_squared": 1 - float((residuals**2).sum()) / spread if spread else float("nan"),
        "largest_residual_share": float(np.abs(residuals / measured).max()),
    }
