"""The seam suite: items by construction, each a triplet of the same target cut by a seam, at its sham place, and intact."""

from fila_lab.data.seam.content import COLOURS
from fila_lab.data.seam.opened import Seam, seam_pool
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.data.seam.truth import CLASSES, glyph_records, stage_sizes, truth_maps

__all__ = [
    "CLASSES",
    "COLOURS",
    "Seam",
    "SeamItem",
    "SeamSuite",
    "glyph_records",
    "seam_pool",
    "stage_sizes",
    "truth_maps",
]
