"""Signatures that are plain facts of a folder, and no tests: how cells failed, and where tuned values lie."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.searched import at_edge
from fila_lab.analysis.signs import Applied, Sign

PARTS = (
    (r"convnext", "the ConvNeXt"),
    (r"modeling/fusion/", "a fusion"),
    (r"open_clip/|modeling/vit|modeling/attention", "the ViT"),
    (r"modeling/projector", "the projector"),
    (r"transformers/|modeling/language", "the language model"),
    (r"data/|training/(batches|features)", "data or features"),
    (r"torch/autograd", "the backward pass"),
)
"""Where in a traceback's path a part of the model shows."""

KILLED = "memory ran out"
"""Part of what the engines record about a worker that died of signal 9."""


def out_of_memory(findings: Findings) -> Applied:
    """Failures by arm: how many cells, at which detail resolution, in which part of the model."""
    signs, failures = [], 0
    for arm in findings.folder.arms:
        cells = [cell for cell in findings.folder.cells if cell.arm == arm]
        failed = [(cell, (cell.result or {}).get("failure") or {}) for cell in cells if cell.failed]
        failures += len(failed)
        short = [(cell, cause) for cell, cause in failed if cause.get("kind") == "out_of_memory" or KILLED in str(cause.get("message"))]
        if not short:
            continue
        parts = sorted({part for _, cause in short if (part := _part(str(cause.get("traceback", ""))))})
        sure = sum(cause.get("kind") == "out_of_memory" for _, cause in short)
        config = (short[0][0].result or {}).get("config") or short[0][0].config
        told = f"{sure} of {len(cells)} cells" if sure else ""
        if sure < len(short):
            told += f"{' and ' if told else ''}{len(short) - sure} of {len(cells)} whose worker was killed, by hand or for want of memory"
        told += f", in {' and '.join(parts)}" if parts else ", where in the model is not known"
        signs.append(Sign(arm, f"{told}; {_resolution(config)}", len(short), limit=0, unit="cells"))
    return Applied(signs, reach=f"one such cell; {failures or 'none'} of {len(findings.folder.cells)} cells failed")


def tuned_edges(findings: Findings) -> Applied:
    """Values that main cells ran with, in the outer part of what was searched: true under every budget, whether it searched or not."""
    tuning = findings.folder.study.tuning
    if tuning is None:
        return Applied(unchecked="the study tunes nothing")
    same: dict[tuple[str, float], list[str]] = {}
    nearest, values = math.inf, 0
    for arm, chosen in findings.searched_values.items():
        for path, one in tuning.ranges.items():
            value = chosen[path]
            if not math.isfinite(value) or (one.log and value <= 0):
                continue
            place = one.share(value)
            nearest, values = min(nearest, place, 1 - place), values + 1
            if at_edge(value, one):
                same.setdefault((path, value), []).append(arm)
    if not values:
        return Applied(unchecked="no finished cell recorded a value of what was searched")
    signs = []
    for (path, value), arms in same.items():
        one = tuning.ranges[path]
        text = f"{path} at the edge of its range: {value:.4g}, searched from {one.low:g} to {one.high:g}"
        signs.append(Sign(", ".join(arms), text, value, limit=one.low if one.share(value) < 0.5 else one.high, unit=path))
    return Applied(signs, reach=f"any; of {values} values the nearest lies {nearest:.0%} of its range from an end")


def _part(traceback: str) -> str | None:
    """The part of the model in the deepest frame that names one."""
    for line in reversed([line for line in traceback.splitlines() if line.lstrip().startswith("File ")]):
        for pattern, part in PARTS:
            if re.search(pattern, line):
                return part
    return None


def _resolution(config: Mapping[str, Any]) -> str:
    geometry, train = config.get("geometry") or {}, config.get("train") or {}
    side, cells = geometry.get("whole_image"), geometry.get("detail_cells")
    detail = f"a detail input of {side} px" if side else f"detail_cells = {cells} ({32 * cells if cells else '?'} px a tile)"
    return f"{detail}, batch {train.get('batch_size', '?')}"
