"""Whose maps the control `foreign` reads: another image's, on the same canvas and at the same place."""

from __future__ import annotations

import numpy as np
import pytest
from hand_pool import HandPool

from fila_lab.config import FilaError

CANVASES = ((84, 84), (84, 42), (42, 84))


@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize("items", [2, 3, 6, 7, 8, 14, 15])
def test_it_is_another_items_at_the_same_place_for_every_size_of_a_group(items: int, places: int) -> None:
    rng = np.random.default_rng(items)
    drawn = [CANVASES[number] for number in rng.permutation(np.repeat(range(3), items))]
    pool = HandPool(drawn, places)
    foreign, index = pool.foreign, pool.meta["index"].to_numpy()
    assert (index[foreign] != index).all()
    assert (pool.canvases[foreign] == pool.canvases).all()
    assert (foreign % places == np.arange(len(pool)) % places).all(), "rows of a heading lie together, in the order of places"
    assert sorted(foreign) == list(range(len(pool))), "every map is read once"
    stride = 7 if 7 % items else 1
    for name in pool.buckets:
        own = [row for row in range(len(pool)) if pool.canvases[row] == name]
        assert [own.index(other) for other in foreign[own]] == [(at + stride * places) % len(own) for at in range(len(own))]


class Shared(HandPool):
    """Each image has three questions, a heading each."""

    def images(self) -> np.ndarray:
        return self.meta["index"].to_numpy() // 3


def test_rows_that_share_an_image_are_not_foreign_to_each_other() -> None:
    pool = Shared([(84, 84)] * 21)
    assert (pool.images()[pool.foreign] != pool.images()).all()
    with pytest.raises(FilaError, match=r"foreign.*84x84 of the test pool has 1 image"):
        _ = Shared([(84, 84)] * 3).foreign


def test_a_canvas_of_one_item_has_no_foreign_map() -> None:
    with pytest.raises(FilaError, match=r"84x42 of the test pool has 1 image.*data.test_triplets"):
        _ = HandPool([(84, 84), (84, 84), (84, 42)], 3).foreign
