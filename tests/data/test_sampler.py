"""The order of data: a plain reference says which rows each batch of each epoch holds; arms are paired only as long as this stays."""

from __future__ import annotations

import hashlib
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fila_lab.config.base import FilaError
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.streams import stream

CANVASES = st.lists(st.sampled_from(["84x84", "84x42", "42x84"]), min_size=1, max_size=40)


def plain_epoch(canvases: list[str], indices: list[int], size: int, seed: int, number: int) -> list[list[int]]:
    """Rows are shuffled, dealt to their canvas, cut into batches canvas by canvas in alphabetical order; then the batches are shuffled."""
    digest = hashlib.sha256(f"{seed}/data_order/{number}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    shuffled = [indices[place] for place in generator.permutation(len(indices))]
    batches = []
    for canvas in sorted({canvases[row] for row in indices}):
        own = [row for row in shuffled if canvases[row] == canvas]
        batches += [own[first : first + size] for first in range(0, len(own), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


@given(CANVASES, st.integers(1, 7), st.integers(0, 2**31), st.data())
def test_epochs_are_those_of_the_plain_reference(canvases: list[str], size: int, seed: int, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(canvases) - 1), min_size=1, max_size=len(canvases), unique=True))
    batches = BucketBatches(canvases, indices, size, seed)
    epochs = [plain_epoch(canvases, indices, size, seed, number) for number in range(3)]
    assert len(batches) == len(epochs[0])
    assert [batch.tolist() for batch in batches] == epochs[0]
    assert [batch.tolist() for batch in batches.epoch(2)] == epochs[2]
    wanted = [batch for epoch in epochs for batch in epoch]
    assert [batch.tolist() for batch in islice(batches.epochs(), len(wanted))] == wanted
    assert sorted(row for batch in epochs[1] for row in batch) == sorted(indices)


@given(CANVASES, st.integers(1, 7))
def test_evaluation_keeps_the_order_bucket_by_bucket(canvases: list[str], size: int) -> None:
    rows = list(range(len(canvases)))[::-1]
    wanted = []
    for canvas in sorted(set(canvases)):
        own = [row for row in rows if canvases[row] == canvas]
        wanted += [own[first : first + size] for first in range(0, len(own), size)]
    batches = BucketBatches(canvases, rows, size, None)
    assert [batch.tolist() for batch in batches] == wanted
    assert [batch.tolist() for batch in islice(batches.epochs(), 2 * len(wanted))] == 2 * wanted


def test_batches_of_different_canvases_are_mixed() -> None:
    """Sixteen batches a canvas: in order of canvas they would come once in 600 million."""
    batches = list(BucketBatches(["a"] * 64 + ["b"] * 64, range(128), 4, 0))
    canvases = ["a" if batch[0] < 64 else "b" for batch in batches]
    assert sum(one != other for one, other in pairwise(canvases)) > 4


def test_no_row_is_refused_by_name() -> None:
    with pytest.raises(FilaError, match="indices: no item is selected"):
        BucketBatches(["a"], [], 4, 0)


def test_a_stream_is_named_by_its_words() -> None:
    assert stream(1, "x", 2).integers(2**62) == stream("1", "x", "2").integers(2**62)
    draws = {int(stream(*words).integers(2**62)) for words in ((1, "x"), (1, "y"), (2, "x"), ("x", 1), ("x",), (1, "x", 0))}
    assert len(draws) == 6
