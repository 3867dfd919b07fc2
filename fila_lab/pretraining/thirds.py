"""Three ways to part the training fonts and photos, so that tower pairs have not all seen the same: each leaves out another third."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fila_lab.data.seam import content

T = TypeVar("T")
THIRDS = 3


def of_third(names: Sequence[T], third: int | None, held_out: bool) -> tuple[T, ...]:
    """Those of the names that a split trains on, every third one left out, or with `held_out` those. Without a third all of them.

    Fonts and photos stand in families, so that each split keeps some of every family.
    """
    if third is None:
        return tuple(names)
    return tuple(name for index, name in enumerate(names) if (index % THIRDS == third) == held_out)


def left_out(third: int | None) -> dict[str, Any]:
    """What a card says of the split: its number, and the training fonts and photos that were not trained on; empty without one."""
    if third is None:
        return {}
    fonts = [path.stem for path in of_third(content.fonts("train"), third, held_out=True)]
    photos = list(of_third(content.photos("train"), third, held_out=True))
    return {"split": {"number": third, "of": THIRDS, "fonts_left_out": fonts, "photos_left_out": photos}}
