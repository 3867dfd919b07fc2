"""Which arms a signature compares: an arm with its counterpart without fusion, a control with the fusion it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import Interval, paired_interval


def counterpart(findings: Findings, arm: str) -> str | None:
    """The arm without fusion that differs from `arm` in nothing but fusion, detail branch and learning rate (and steps, where something
    else was equalised); None when there is none. In a crossed study every scale has its own."""
    wanted = _unfused(findings, arm)
    bases = [base for base in findings.folder.arms if _is_base(findings, base)]
    bases.sort(key=lambda base: base != findings.folder.baseline)
    return next((base for base in bases if _unfused(findings, base) == wanted), None)


def fused(findings: Findings, *roles: str) -> Iterator[tuple[str, str]]:
    """(arm, its counterpart without fusion) for the arms of these roles that have one."""
    for arm in findings.folder.arms:
        if _is_base(findings, arm):
            continue
        if findings.folder.study.arms[arm].role in roles and (base := counterpart(findings, arm)) is not None:
            yield arm, base


def fuses(findings: Findings, arm: str) -> bool:
    """Whether an arm has a fusion at all: rivals by other tiles, or by another tower alone, have none."""
    return (config_of(findings, arm).get("fusion") or {}).get("name") != "none"


def longer(findings: Findings) -> list[tuple[str, str]]:
    """(arm, base): arms without fusion that differ from one another in nothing but steps, the one with more first."""
    bases = [arm for arm in findings.folder.arms if _is_base(findings, arm)]
    steps = {arm: (config_of(findings, arm).get("train") or {}).get("steps") or 0 for arm in bases}
    alike = [(a, b) for a in bases for b in bases if steps[a] > steps[b] and _without_steps(findings, a) == _without_steps(findings, b)]
    return alike


def _without_steps(findings: Findings, arm: str) -> dict[str, Any]:
    config = dict(config_of(findings, arm))
    config["train"] = {name: value for name, value in (config.get("train") or {}).items() if name not in ("steps", "validate_every")}
    return {name: value for name, value in config.items() if name != "seed"}


def _is_base(findings: Findings, arm: str) -> bool:
    """Whether an arm is one without fusion, and no rival or control."""
    return not fuses(findings, arm) and findings.folder.study.arms[arm].role in ("baseline", "fusion")


def config_of(findings: Findings, arm: str) -> Mapping[str, Any]:
    """The configuration of an arm's first cell, as JSON."""
    cell = findings.folder.first[arm]
    config: Mapping[str, Any] = (cell.result or {}).get("config") or cell.config
    return config


def _unfused(findings: Findings, arm: str) -> dict[str, Any]:
    """What of an arm's configuration a comparison with it holds equal."""
    config = dict(config_of(findings, arm))
    ignored = {"learning_rate"} | ({"steps"} if findings.folder.study.equalise != "steps" else set())
    kept = {name: value for name, value in config.items() if name not in ("fusion", "convnext", "seed", "tower_pairs")}
    kept["train"] = {name: value for name, value in (config.get("train") or {}).items() if name not in ignored}
    geometry = config.get("geometry") or {}
    kept["geometry"] = {name: value for name, value in geometry.items() if name not in ("detail_cells", "whole_image", "vit_scale")}
    return kept


def control_of(findings: Findings, arm: str) -> str | None:
    """`fusion.control` of an arm."""
    name = (config_of(findings, arm).get("fusion") or {}).get("control")
    return str(name) if name else None


def twin(findings: Findings, arm: str) -> str | None:
    """The fusion a control stands for: the same fusion without the control, else one of the same name."""
    fusion = dict(config_of(findings, arm).get("fusion") or {})
    best: tuple[int, str] | None = None
    for other in findings.folder.arms:
        theirs = dict(config_of(findings, other).get("fusion") or {})
        if findings.folder.study.arms[other].role != "fusion" or theirs.get("name") != fusion.get("name") or theirs.get("control"):
            continue
        differing = sum(fusion.get(key) != value for key, value in theirs.items() if key not in ("control", "shift"))
        if best is None or differing < best[0]:
            best = (differing, other)
    return best[1] if best else None


def second_baseline(findings: Findings, arm: str) -> str | None:
    """The arm of role `capacity` with the arm's fusion: its parameters, and nothing to look at. None where there is none."""
    fusion = _module(findings, arm)
    arms = [other for other in findings.folder.arms if findings.folder.study.arms[other].role == "capacity"]
    return next(
        (other for other in arms if _module(findings, other) == fusion and _unfused(findings, other) == _unfused(findings, arm)), None
    )


def _module(findings: Findings, arm: str) -> dict[str, Any]:
    """What of an arm's fusion makes its parameters."""
    shown = ("control", "shift", "eval_shift", "detail_resolution", "detail_context", "reach", "resample")
    return {name: value for name, value in (config_of(findings, arm).get("fusion") or {}).items() if name not in shown}


def column(findings: Findings, metric: str, arm: str) -> pd.Series:
    """A metric of an arm by seed, over the seeds that have it."""
    own = findings.frame[findings.frame["arm"] == arm]
    return own.set_index("seed")[metric].dropna()


def difference(findings: Findings, metric: str, arm: str, base: str) -> Interval:
    """arm - base over the seeds both finished."""
    if metric not in findings.frame:
        return paired_interval([])
    return paired_interval((column(findings, metric, arm) - column(findings, metric, base)).dropna())
