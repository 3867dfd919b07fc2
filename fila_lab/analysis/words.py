"""The words that a reader of one study's tables may not know yet, each in a sentence; only those that the study uses."""

from __future__ import annotations

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.config.data import CUT_SHARE, PLACES, SHIFTS

COUNTED = "geometry.detail_cells"


def words_of(findings: Findings) -> list[tuple[str, str]]:
    """(word, meaning) in the order in which the report needs them."""
    study = findings.folder.study
    columns = [str(name) for name in findings.frame.columns]
    arms = [study.arms[arm] for arm in findings.folder.arms]
    words = [("arm", "one configuration under comparison"), ("cell", "one arm with one seed")]
    words += [("margin", "the smallest difference of interest, declared before the first cell ran")]
    if any(name.rpartition("/")[2] in PLACES for name in columns):
        words += [("tile, seam", "the square crop that the ViT sees; a border between two tiles")]
        words += [("cut", f"the target lies on a seam, at least {CUT_SHARE:.0%} of its ink on each side")]
        words += [
            ("sham", "the same target across an inner border of the ViT's patches, in the same phase: cut as a patch cuts, with no seam")
        ]
        words += [("intact", "the same target within one patch, as far as it fits")]
    if any(name.endswith("/cross") for name in columns):
        words += [("cross", "the target lies on two seams, in four tiles")]
    if any(name.rpartition("/")[2] in SHIFTS for name in columns):
        words += [(", ".join(SHIFTS), "the sham place moved by one or two canvas pixels")]
    if any(name.startswith("seam_gap/") for name in columns):
        words += [
            (
                "seam gap, sham gap",
                "accuracy(sham) − accuracy(cut), the price of a seam; accuracy(intact) − accuracy(sham), that of a patch border",
            )
        ]
        words += [("fragmentation error", "right at the sham place, wrong when cut; the reverse rate stands beside it")]
    if any(arm.role == "control" for arm in arms):
        words += [("control", "an arm that has a fusion's parts and should not gain, or, as the ceiling, must")]
    if any(arm.set.get("fusion.control") == "oracle_map" for arm in arms):
        words += [
            (
                "ceiling",
                "a control that is fed with the truth in place of the ConvNeXt's maps: where it does not gain, the instrument is blind",
            )
        ]
    if any(arm.role == "capacity" for arm in arms):
        words += [("second baseline", "a fusion's parameters with nothing to look at: what parameters alone gain")]
    if _varies(findings, COUNTED):
        words += [
            ("k, detail cells", "how many cells of the ConvNeXt's last stage lie along a tile's side: the resolution of the detail branch")
        ]
    if findings.folder.tower_pairs:
        words += [("tower pair", "a ViT and a ConvNeXt pretrained together; seeds are spread over the pairs")]
    return words


def _varies(findings: Findings, path: str) -> bool:
    """Whether arms or trials differ in a field."""
    section, _, field = path.partition(".")
    seen = {((cell.result or {}).get("config") or cell.config).get(section, {}).get(field) for cell in findings.folder.main}
    return len(pd.Series(list(seen), dtype=object).dropna()) > 1
