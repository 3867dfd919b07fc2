"""Items and where they come from: the contract of a suite, materialised pools, and canvas-bucketed batches. No torch here."""

from fila_lab.data.pool import Bucket, Pixels, Pool, draw_seed_items
from fila_lab.data.read_pool import ReadPool
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.stored_pool import Group, StoredPool, pool_key, stored_pool
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
    "Bucket",
    "BucketBatches",
    "Glyph",
    "Group",
    "Heading",
    "ImageFile",
    "Item",
    "Opening",
    "Pixels",
    "Pool",
    "ReadPool",
    "SetAside",
    "StoredPool",
    "Suite",
    "TaskRule",
    "Turn",
    "UnusableRow",
    "available_suites",
    "draw_seed_items",
    "open_suite",
    "pool_key",
    "register_suite",
    "stored_pool",
    "stream",
]
