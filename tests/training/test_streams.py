"""In which order batches come and who makes them: against plain references, on pools that are made by hand."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from itertools import islice, zip_longest
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from hand_pool import HandPool

import fila_lab.training.data as data_module
from fila_lab.config import FilaError
from fila_lab.data import TaskRule
from fila_lab.data.read_pool import ReadPool
from fila_lab.data.sampler import BucketBatches
from fila_lab.training import streams
from fila_lab.training.data import CellData, check_judged_pools
from fila_lab.training.streams import Stream, loader

CANVASES = ["84x84", "84x42", "84x84", "42x84", "84x42"] * 6


class Rows:
    """A collator that hands back the rows it was given."""

    pool = HandPool([(int(name.split("x")[0]), int(name.split("x")[1])) for name in CANVASES], split="train")

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


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_worker_processes_make_the_batches_of_one_in_turn(seed: int | None, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader asks its workers in turn; one that has none left is passed over."""
    whole = list(islice(Stream(Rows(), np.arange(len(CANVASES)), 4, seed), 9))  # type: ignore[arg-type]
    made = []
    for worker in range(workers):
        monkeypatch.setattr(streams, "get_worker_info", lambda worker=worker: SimpleNamespace(id=worker, num_workers=workers))
        made.append(list(islice(Stream(Rows(), np.arange(len(CANVASES)), 4, seed), 9)))  # type: ignore[arg-type]
    turns = [each for turn in zip_longest(*made) for each in turn if each is not None]
    assert turns[: len(whole)] == whole


def test_training_goes_on_where_the_trainer_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The global step of a resumed trainer is the number of batches that were read, its rank the share."""
    monkeypatch.setattr(data_module, "Collator", lambda config, pool, *_, **__: Rows())
    config = SimpleNamespace(
        seed=4,
        data=SimpleNamespace(train_items=20, train_tasks=(), val_items=6, workers=0),
        train=SimpleNamespace(batch_size=4, accumulate=1, eval_batch_size=4),
    )
    names = ("train", "val", "seam")
    data = CellData(config, dict.fromkeys(names, Rows.pool), dict.fromkeys(names), None)  # type: ignore[arg-type]
    data.trainer = SimpleNamespace(global_step=6, global_rank=0, world_size=1)  # type: ignore[assignment]
    own = [batch.tolist() for batch in islice(BucketBatches(CANVASES, data.rows["train"], 4, 4).epochs(), 10)]
    assert len(data.rows["train"]) == 20
    assert [rows for rows, _, _ in islice(data.train_dataloader(), 4)] == own[6:]
    loaders = data.predict_dataloader()
    assert [sorted(row for rows, _, _ in loader for row in rows) for loader in loaders] == [sorted(data.rows["val"]), list(range(30))]


def test_without_a_trainer_all_batches_are_this_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "Collator", lambda config, pool, *_, **__: Rows())
    config = SimpleNamespace(
        seed=4,
        data=SimpleNamespace(train_items=None, train_tasks=(), val_items=None, workers=0),
        train=SimpleNamespace(batch_size=4, accumulate=1, eval_batch_size=4),
    )
    data = CellData(config, dict.fromkeys(("train", "val"), Rows.pool), dict.fromkeys(("train", "val")), None)  # type: ignore[arg-type]
    own = [batch.tolist() for batch in islice(BucketBatches(CANVASES, data.rows["train"], 4, 4).epochs(), 9)]
    assert [rows for rows, _, _ in islice(data.train_dataloader(), 9)] == own
    assert sorted(row for rows, _, _ in data.val_dataloader() for row in rows) == list(range(30))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_epoch_takes_as_many_steps_as_whole_batches(accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of forward passes makes one of them."""
    monkeypatch.setattr(data_module, "Collator", lambda config, pool, *_, **__: Rows())
    config = SimpleNamespace(
        seed=4,
        data=SimpleNamespace(train_items=None, train_tasks=(), val_items=None, workers=0),
        train=SimpleNamespace(batch_size=4 // accumulate, accumulate=accumulate, eval_batch_size=4),
    )
    data = CellData(config, dict.fromkeys(("train", "val"), Rows.pool), dict.fromkeys(("train", "val")), None)  # type: ignore[arg-type]
    size = 4 // accumulate * accumulate
    assert data.steps_an_epoch == len(BucketBatches(CANVASES, data.rows["train"], size, 4))


def test_what_files_ask_must_be_there_to_judge_and_the_message_names_the_field() -> None:
    """Of files alone, and not of those that are trained on: this score goes by the type of a question, which these do not tell."""

    class Files(ReadPool):
        def __init__(self) -> None:
            self.rules, self.meta = {"maths": TaskRule("mathvista")}, pd.DataFrame({"task": ["maths"]})

        def describe(self, rows: np.ndarray) -> pd.DataFrame:
            assert rows.tolist() == [0]
            return pd.DataFrame({"item_id": ["a"], "task": ["maths"], "place": [""], "answers": [("1",)]})

    check_judged_pools({"train": Files(), "val": Rows.pool})
    for name, field in (("val", "data.validate"), ("maths", "data.evaluate.maths")):
        with pytest.raises(FilaError, match=f"^{field}: .*question_type"):
            check_judged_pools({name: Files()})


def test_files_are_read_by_other_processes_and_what_is_stored_by_none() -> None:
    class Files(ReadPool):
        def __init__(self) -> None:
            """A pool of files in name alone."""

    for pool, workers, processes in ((Rows.pool, 2, 0), (Files(), 2, 2), (Files(), 0, 0)):
        collator = SimpleNamespace(pool=pool)
        assert loader(Stream(collator, np.arange(3), 2, None), workers).num_workers == processes  # type: ignore[arg-type]


class Heavy:
    """What takes a while to be written into a pipe, as a batch takes to be copied into shared memory."""

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        time.sleep(0.2)
        return int, ()


def test_a_process_that_makes_batches_waits_for_the_thread_that_hands_them_over() -> None:
    """The loader's process closes its queue and forgets the thread, in these words."""
    queue = multiprocessing.get_context("spawn").Queue()
    queue.put(Heavy())
    (feeder,) = (thread for thread in threading.enumerate() if thread.name == streams.FEEDER)
    queue.cancel_join_thread()
    queue.close()
    assert feeder.is_alive()
    streams.hand_over()
    assert not feeder.is_alive()


class Endless:
    """Batches so large that one is always on its way when the loader is given up."""

    pool = HandPool([(84, 84)] * 4, split="train")

    def __call__(self, rows: np.ndarray, training: bool, spare: bool = False) -> torch.Tensor:
        return torch.ones(30_000_000)


@pytest.mark.slow
def test_a_loader_that_is_given_up_ends_its_processes_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By their own end: on a busy machine the loader would sooner kill them."""
    monkeypatch.setattr(streams, "reads_files", lambda collator: True)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 120.0)
    batches = iter(loader(Stream(Endless(), np.arange(4), 2, 0), 1))  # type: ignore[arg-type]
    processes = batches._workers  # type: ignore[union-attr]
    assert next(batches).shape == next(batches).shape
    batches._shutdown_workers()  # type: ignore[union-attr]
    assert [process.exitcode for process in processes] == [0]
    assert "terminate" not in capfd.readouterr().err


def test_a_specialist_trains_on_its_own_tasks_of_the_same_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "Collator", lambda config, pool, *_, **__: Rows())
    names, drawn = ("train", "val"), {}
    for tasks in (None, ("counting",)):
        data = SimpleNamespace(train_items=20, train_tasks=tasks, val_items=6, workers=0)
        config = SimpleNamespace(seed=4, data=data)
        drawn[tasks] = CellData(config, dict.fromkeys(names, Rows.pool), dict.fromkeys(names), None).rows["train"]  # type: ignore[arg-type]
    assert drawn[("counting",)].tolist() == [row for row in drawn[None] if Rows.pool.tasks[row] == "counting"]
