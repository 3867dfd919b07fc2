"""Random streams by name: whoever asks with the same words gets the same numbers, in any process and any order."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*words: object) -> np.random.Generator:
    """A generator seeded by the hash of the words, e.g. stream(seed, "data_order", epoch)."""
    digest = hashlib.sha256("/".join(str(word) for word in words).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16])))
