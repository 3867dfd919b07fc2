"""Random streams: every component draws from its own, so that arms that share a component share its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def component_seed(seed: int, name: str) -> int:
    """A 63-bit seed that depends on nothing but `seed` and the component's name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


@contextmanager
def component_rng(seed: int, name: str) -> Iterator[None]:
    """Draw from a component's own stream inside; torch's global CPU stream is untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(component_seed(seed, name))
        yield
