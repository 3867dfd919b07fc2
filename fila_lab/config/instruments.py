"""Which instrument a result was measured with. The first one, a single pair of towers for each of two presets, is no longer shipped: its
results are read as ever, and say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fila_lab.config.tower_pairs import ROOMS

RETIRED = tuple(f"package:{preset}_{part}" for preset in ("mini", "mini_families") for part in ("vit", "convnext", "answers"))
"""Weights of the first instrument, as configurations name them."""
FIRST = "first instrument"
NOTE = (
    "First instrument: one pair of towers that is no longer shipped. What it measured holds for that pair, and is not to be set beside "
    "what presets measure today."
)
"""What a reader of its results is told first."""


def retired_weights(config: Mapping[str, Any]) -> list[str]:
    """Of a recorded configuration, the weights that are no longer shipped."""
    rooms = (config.get(room) for room in ROOMS)
    named = [room.get("weights") for room in rooms if isinstance(room, Mapping)]
    return [weights for weights in named if weights in RETIRED]


def of_first_instrument(configs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether some of these runs started from what is no longer shipped."""
    return any(retired_weights(config) for config in configs)


def not_shipped(weights: Iterable[str], instead: str) -> str:
    """Why weights of the first instrument cannot be loaded, and what can be done: `instead`, or to run what ran with them as it ran."""
    named = list(weights)
    first = named[0].removeprefix("package:")
    return (
        f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} of the {FIRST} and no longer shipped; {instead}, or use a version of "
        f"fila-lab whose fila_lab/weights holds {first}.safetensors"
    )
