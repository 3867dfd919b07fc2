"""Which arms a signature compares: an arm with its counterpart without fusion, a control with the fusion it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import Interval, paired_interval


def counterpart(found: Findings, arm: str) -> str | None:
    """The arm without fusion that differs from `arm` in nothing but fusion, detail branch and learning rate (and steps, where something
    else was equalised); None when there is none. In a crossed study every scale has its own."""
    wanted = _unfused(found, arm)
    bases = [base for base in found.folder.arms if _is_base(found, base)]
    bases.sort(key=lambda base: base != found.folder.baseline)
    return next((base for base in bases if _unfused(found, base) == wanted), None)


def fused(found: Findings, *roles: str) -> Iterator[tuple[str, str]]:
    """(arm, its counterpart without fusion) for the arms of these roles that have one."""
    for arm in found.folder.arms:
        if _is_base(found, arm):
            continue
        if found.folder.study.arms[arm].role in roles and (base := counterpart(found, arm)) is not None:
            yield arm, base


def fuses(found: Findings, arm: str) -> bool:
    """Whether an arm has a fusion at all: rivals by other tiles, or by another tower alone, have none."""
    return (config_of(found, arm).get("fusion") or {}).get("name") != "none"


def longer(found: Findings) -> list[tuple[str, str]]:
    """(arm, base): arms without fusion that differ from one another in nothing but steps, the one with more first."""
    bases = [arm for arm in found.folder.arms if _is_base(found, arm)]
    steps = {arm: (config_of(found, arm).get("train") or {}).get("steps") or 0 for arm in bases}
    alike = [(a, b) for a in bases for b in bases if steps[a] > steps[b] and _without_steps(found, a) == _without_steps(found, b)]
    return alike


def _without_steps(found: Findings, arm: str) -> dict[str, Any]:
    config = dict(config_of(found, arm))
    config["train"] = {name: value for name, value in (config.get("train") or {}).items() if name not in ("steps", "validate_every")}
    return {name: value for name, value in config.items() if name != "seed"}


def _is_base(found: Findings, arm: str) -> bool:
    """Whether an arm is one without fusion, and no rival or control."""
    return not fuses(found, arm) and found.folder.study.arms[arm].role in ("baseline", "fusion")


def config_of(found: Findings, arm: str) -> Mapping[str, Any]:
    """The configuration of an arm's first cell, as JSON."""
    cell = found.folder.first[arm]
    config: Mapping[str, Any] = (cell.result or {}).get("config") or cell.config
    return config


def _unfused(found: Findings, arm: str) -> dict[str, Any]:
    """What of an arm's configuration a comparison with it holds equal."""
    config = dict(config_of(found, arm))
    ignored = {"learning_rate"} | ({"steps"} if found.folder.study.equalise != "steps" else set())
    kept = {name: value for name, value in config.items() if name not in ("fusion", "convnext", "seed", "tower_pairs")}
    kept["train"] = {name: value for name, value in (config.get("train") or {}).items() if name not in ignored}
    geometry = config.get("geometry") or {}
    kept["geometry"] = {name: value for name, value in geometry.items() if name not in ("detail_cells", "whole_image", "vit_scale")}
    return kept


def control_of(found: Findings, arm: str) -> str | None:
    """`fusion.control` of an arm."""
    name = (config_of(found, arm).get("fusion") or {}).get("control")
    return str(name) if name else None


def twin(found: Findings, arm: str) -> str | None:
    """The fusion a control stands for: the same fusion without the control, else one of the same name."""
    fusion = dict(config_of(found, arm).get("fusion") or {})
    best: tuple[int, str] | None = None
    for other in found.folder.arms:
        theirs = dict(config_of(found, other).get("fusion") or {})
        if found.folder.study.arms[other].role != "fusion" or theirs.get("name") != fusion.get("name") or theirs.get("control"):
            continue
        differing = sum(fusion.get(key) != value for key, value in theirs.items() if key not in ("control", "shift"))
        if best is None or differing < best[0]:
            best = (differing, other)
    return best[1] if best else None


def second_baseline(found: Findings, arm: str) -> str | None:
    """The arm of role `capacity` with the arm's fusion: its parameters, and nothing to look at. None where there is none."""
    fusion = _module(found, arm)
    arms = [other for other in found.folder.arms if found.folder.study.arms[other].role == "capacity"]
    return next((other for other in arms if _module(found, other) == fusion and _unfused(found, other) == _unfused(found, arm)), None)


def _module(found: Findings, arm: str) -> dict[str, Any]:
    """What of an arm's fusion makes its parameters."""
    shown = ("control", "shift", "eval_shift", "detail_resolution", "detail_context", "reach", "resample")
    return {name: value for name, value in (config_of(found, arm).get("fusion") or {}).items() if name not in shown}


def column(found: Findings, metric: str, arm: str) -> pd.Series:
    """A metric of an arm by seed, over the seeds that have it."""
    own = found.frame[found.frame["arm"] == arm]
    return own.set_index("seed")[metric].dropna()


def difference(found: Findings, metric: str, arm: str, base: str) -> Interval:
    """arm - base over the seeds both finished."""
    if metric not in found.frame:
        return paired_interval([])
    return paired_interval((column(found, metric, arm) - column(found, metric, base)).dropna())
