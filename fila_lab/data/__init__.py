"""Items by construction (the seam suite), their materialised pools, ground truth maps, and canvas-bucketed batches. No torch here."""

from fila_lab.data.content import ALPHABET, COLOURS, LAYOUTS, SPLITS
from fila_lab.data.pool import Group, Pool, build_pool, draw_seed_items, pool_key
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.seam_suite import Glyph, Item, SeamSuite
from fila_lab.data.streams import stream
from fila_lab.data.truth import CLASSES, TRUTH_CHANNELS, glyph_records, stage_sizes, truth_channels, truth_maps

__all__ = [
    "ALPHABET",
    "CLASSES",
    "COLOURS",
    "LAYOUTS",
    "SPLITS",
    "TRUTH_CHANNELS",
    "BucketBatches",
    "Glyph",
    "Group",
    "Item",
    "Pool",
    "SeamSuite",
    "build_pool",
    "draw_seed_items",
    "glyph_records",
    "pool_key",
    "stage_sizes",
    "stream",
    "truth_channels",
    "truth_maps",
]
