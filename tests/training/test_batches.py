"""What a batch holds and in which order batches come: against plain references, on pools that are made by hand."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fila_lab.config import FilaError
from fila_lab.data.sampler import BucketBatches
from fila_lab.training.batches import IGNORE, CellData, Stream, Texts, foreign_rows

CANVASES = ["84x84", "84x42", "84x84", "42x84", "84x42"] * 6


class Pool:
    """A pool of these canvases, one item a row."""

    split = "train"
    meta = pd.DataFrame({"task": ["reading"] * len(CANVASES)})

    def __len__(self) -> int:
        return len(CANVASES)


class Rows:
    """A collator that hands back the rows it was given."""

    canvas = np.array(CANVASES, dtype=object)
    config: Any = None
    pool = Pool()

    def __call__(self, rows: np.ndarray, training: bool, spare: bool = False) -> tuple[list[int], bool, bool]:
        return rows.tolist(), training, spare


def batches(seed: int | None, count: int, start: int = 0) -> list[list[int]]:
    stream = Stream(Rows(), np.arange(len(CANVASES)), 4, seed, start)  # type: ignore[arg-type]
    return [rows for rows, _, _ in islice(stream, count)]


def shared(seed: int | None, rank: int, world: int) -> Stream:
    return Stream(Rows(), np.arange(len(CANVASES)), 4, seed, rank=rank, world=world)  # type: ignore[arg-type]


def reference(seed: int, count: int) -> list[list[int]]:
    return [batch.tolist() for batch in islice(BucketBatches(CANVASES, range(len(CANVASES)), 4, seed).epochs(), count)]


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 23])
def test_a_resumed_stream_goes_on_with_the_very_next_batch(start: int) -> None:
    """Across epochs too: an epoch has 9 batches. A batch left out or read twice would unpair the arms."""
    assert batches(3, 20, start=start) == reference(3, start + 20)[start:]


def test_training_batches_carry_answers_and_evaluation_does_not() -> None:
    for seed, training in ((0, True), (None, False)):
        stream = Stream(Rows(), np.arange(len(CANVASES)), 4, seed)  # type: ignore[arg-type]
        assert {flag for _, flag, _ in islice(stream, 5)} == {training}


def test_evaluation_reads_every_row_once() -> None:
    rows = [row for batch in batches(None, 1000) for row in batch]
    assert sorted(rows) == list(range(len(CANVASES)))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch_and_none_stands_idle(world: int) -> None:
    """A rank that would be left without reads a row again, and says that it does not count."""
    shares = [list(islice(shared(5, rank, world), 30)) for rank in range(world)]
    for number, batch in enumerate(reference(5, 30)):
        own = [share[number] for share in shares]
        assert all(rows for rows, _, _ in own)
        assert sorted(row for rows, _, spare in own if not spare for row in rows) == sorted(batch)
        assert [rows for rows, _, spare in own if not spare] == [batch[rank::world] for rank in range(min(world, len(batch)))]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_evaluate_every_row_once_in_the_batches_of_one(world: int) -> None:
    whole = [rows for rows, _, _ in shared(None, 0, 1)]
    shares = [list(shared(None, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1, "every rank takes as many steps"
    assert [rows for turn in zip(*shares, strict=True) for rows, _, spare in turn if not spare] == whole


def test_texts_are_padded_and_only_answers_carry_loss() -> None:
    prompts, targets = [[5, 6, 7], [8], [9, 10]], [[11, 2], [12, 13, 14, 2], [15, 2]]
    texts = Texts(prompts, targets, pad=0)
    ids, lengths, labels = texts(np.array([2, 1]), True)
    assert ids.tolist() == [[9, 10, 15, 2, 0], [8, 12, 13, 14, 2]]
    assert lengths.tolist() == [2, 1]
    assert labels.tolist() == [[IGNORE, IGNORE, 15, 2, IGNORE], [IGNORE, 12, 13, 14, 2]]
    ids, lengths, labels = texts(np.array([0, 1]), False)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert lengths.tolist() == [3, 1]
    assert torch.equal(labels, torch.full((2, 3), IGNORE))


@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize("items", [2, 3, 7, 8, 14, 15])
def test_a_foreign_map_is_another_items_at_the_same_place(items: int, places: int) -> None:
    rows = foreign_rows(items * places, places, "84x84")
    for row, other in enumerate(rows):
        assert other // places != row // places
        assert other % places == row % places
    assert sorted(rows) == list(range(items * places)), "every map is read once"
    if items % 7:
        assert rows[0] == 7 % items * places


def test_a_canvas_of_one_item_has_no_foreign_map() -> None:
    with pytest.raises(FilaError, match=r"foreign.*1 item"):
        foreign_rows(3, 3, "84x84 of the test pool")


def test_training_goes_on_where_the_trainer_stands() -> None:
    """The global step of a resumed trainer is the number of batches that were read, its rank the share."""
    config = SimpleNamespace(
        seed=4,
        data=SimpleNamespace(train_items=20, train_tasks=(), val_items=6),
        train=SimpleNamespace(batch_size=4, eval_batch_size=4),
    )
    collator = Rows()
    data = CellData(config, collator, collator, collator)  # type: ignore[arg-type]
    data.trainer = SimpleNamespace(global_step=6, global_rank=0, world_size=1)  # type: ignore[assignment]
    own = [batch.tolist() for batch in islice(BucketBatches(CANVASES, data.train_rows, 4, 4).epochs(), 10)]
    assert [rows for rows, _, _ in islice(data.train_dataloader(), 4)] == own[6:]
    loaders = data.predict_dataloader()
    assert [sorted(row for rows, _, _ in loader for row in rows) for loader in loaders] == [sorted(data.val_rows), list(range(30))]
