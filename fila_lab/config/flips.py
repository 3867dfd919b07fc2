"""Which triplets tell most, and which are drawn at random: one choice for the run that draws them and for the report that shows them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12
"""Triplets in a gallery that tell most."""
SAMPLED = 6
"""Triplets beside them that nobody chose."""


def shares_right(predictions: pd.DataFrame) -> pd.Series:
    """Share of seeds that were right, by item_id, arm and place. predictions: those and correct; a row a seed. Items without places, as a
    benchmark's, are left out."""
    placed = predictions[["item_id", "arm", "place", "correct"]][predictions["place"] != ""]
    shares: pd.Series = placed.groupby(["item_id", "arm", "place"], observed=True)["correct"].mean()
    return shares


def most_divided(shares: pd.Series) -> list[str]:
    """Item ids by how much their places differ within arms and their arms differ at all, most first; ties in id order.

    shares: as of `shares_right`.
    """
    if shares.empty:
        return []
    share = shares.unstack("place")
    between_places = (share.max(axis=1) - share.min(axis=1)).unstack("arm").sum(axis=1)
    between_arms = share.mean(axis=1).unstack("arm").std(axis=1).fillna(0)
    score = (between_places + between_arms).sort_values(ascending=False, kind="stable")
    return [str(item) for item in score[score > 0].index[:SHOWN]]


def drawn_at_random(item_ids: Iterable[str]) -> list[str]:
    """SAMPLED of the item ids, the same of the same pool whatever was answered."""
    pool = sorted(set(map(str, item_ids)))
    return random.Random(0).sample(pool, min(SAMPLED, len(pool)))
