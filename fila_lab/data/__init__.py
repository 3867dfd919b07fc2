"""Items and where they come from: the contract of a suite, materialised pools, and canvas-bucketed batches. No torch here."""

from fila_lab.data.pool import Group, Pool, build_pool, draw_seed_items, pool_key
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.streams import stream
from fila_lab.data.suite import (
    SPLITS,
    Glyph,
    Heading,
    ImageFile,
    Item,
    Opening,
    SetAside,
    Suite,
    TaskRule,
    Turn,
    UnusableRow,
    available_suites,
    open_suite,
    register_suite,
)

__all__ = [
    "SPLITS",
    "BucketBatches",
    "Glyph",
    "Group",
    "Heading",
    "ImageFile",
    "Item",
    "Opening",
    "Pool",
    "SetAside",
    "Suite",
    "TaskRule",
    "Turn",
    "UnusableRow",
    "available_suites",
    "build_pool",
    "draw_seed_items",
    "open_suite",
    "pool_key",
    "register_suite",
    "stream",
]
