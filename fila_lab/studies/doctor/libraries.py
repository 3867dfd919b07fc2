"""Versions of what the laboratory stands on, and whether the parts that must match do. Imports them."""

from __future__ import annotations

import importlib.metadata
import platform
import re

from fila_lab.studies.doctor.finding import Finding, looked

NAMED = ("torch", "torchvision", "lightning", "timm", "open_clip_torch", "transformers", "optuna", "mlflow", "sqlalchemy")
MALICIOUS = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
"""Releases that were taken over and steal credentials."""
OPTIONAL = {"ray": ("--engine ray", "ray"), "psycopg": ("a sweep's storage in PostgreSQL", "postgres")}
"""Package -> what it is for, and the extra that brings it."""


def libraries() -> list[Finding]:
    """Versions, then torch with torchvision, towers, and Ray where it is."""
    found = [Finding("python", "ok", platform.python_version()), *_versions()]
    found += looked("torch with torchvision", _vision, "install a matching pair: pip install torch==2.14.1 torchvision==0.29.1")
    found += looked("towers", _towers, "pip install --upgrade timm open_clip_torch")
    return found + _optional()


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions() -> list[Finding]:
    """Every declared requirement: those that matter to results by name, the others only where they do not hold."""
    found = []
    for name, versions in MALICIOUS.items():
        if (there := _installed(name)) in versions:
            told = f"{there} is a malicious release: it steals credentials"
            found.append(Finding(name, "fail", told, f"pip install '{name}!=2.6.2,!=2.6.3', and renew every credential this machine had"))
    try:
        declared = importlib.metadata.requires("fila-lab") or []
    except importlib.metadata.PackageNotFoundError:
        return [*found, Finding("fila-lab", "warn", "a source tree on the path: what it requires is not known", "pip install -e .")]
    told_of = {finding.name for finding in found}
    for text in declared:
        if "extra ==" in text or (name := re.split(r"[^\w.-]", text, maxsplit=1)[0]) in told_of:
            continue
        there = _installed(name)
        if there is None or not _holds(text, there):
            found.append(Finding(name, "fail", f"{there or 'not installed'}, and {text} is required", f"pip install '{text}'"))
        elif name in NAMED:
            found.append(Finding(name, "ok", there))
    return found


def _holds(requirement: str, version: str) -> bool:
    from packaging.requirements import Requirement

    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _vision() -> list[Finding]:
    """A torchvision built for another torch imports in part, and fails in its operators."""
    import torch
    from torchvision.ops import nms

    kept = nms(torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]]), torch.tensor([0.9, 0.8]), 0.5)
    if kept.tolist() != [0]:
        return [
            Finding("torch with torchvision", "fail", f"nms keeps {kept.tolist()} of two boxes that overlap", "install a matching pair")
        ]
    return [Finding("torch with torchvision", "ok", "nms works")]


def _towers() -> list[Finding]:
    import open_clip
    import timm

    return [
        Finding(
            "towers", "ok", f"timm and open_clip import; {len(open_clip.list_pretrained())} CLIP tags, {len(timm.list_models())} models"
        )
    ]


def _optional() -> list[Finding]:
    found = []
    for name, (use, extra) in OPTIONAL.items():
        there = _installed(name)
        told = f"not installed: only for {use} (pip install 'fila_lab[{extra}]')" if there is None else f"{there}, for {use}"
        found.append(Finding(name, "ok", told))
    return found
