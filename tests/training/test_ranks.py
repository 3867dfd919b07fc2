"""Two devices are two processes that train one model on one loss: each takes its share of every batch, and none outlives another."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from tiny_run import tiny
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from fila_lab.config import MachineError, RunConfig
from fila_lab.config.tiling import NO_IMAGE
from fila_lab.data.suite import Turn
from fila_lab.modeling import VisionBatch
from fila_lab.modeling.answers import Truth
from fila_lab.modeling.sharding import whole
from fila_lab.training import ranks, run_cell
from fila_lab.training.batches import Batch, Collator
from fila_lab.training.data import open_data
from fila_lab.training.module import FilaModule
from fila_lab.training.sharded import shard
from fila_lab.training.shares import gathered
from fila_lab.training.streams import Stream
from fila_lab.training.texts import IGNORE
from fila_lab.training.trainer import make_trainer

WORLD = 2


def two(**more: Any) -> RunConfig:
    return tiny(fusion__name="addition", data__test_triplets=2, runtime__devices=WORLD, **more)


@pytest.mark.slow
def test_a_cell_trains_on_two_cpu_processes_and_leaves_the_environment_as_it_was(cache_dir: Path, tmp_path: Path) -> None:
    before, said = dict(os.environ), []
    shared = run_cell(two(), workdir=tmp_path / "two", cache_dir=cache_dir, progress=lambda *step: said.append(step))
    config = tiny(fusion__name="addition", data__test_triplets=2)
    alone = run_cell(config, workdir=tmp_path / "one", cache_dir=cache_dir)
    assert shared.result["failure"] is None
    assert shared.predictions is not None
    assert alone.predictions is not None
    columns = ["item_id", "place", "question", "answer"]
    assert shared.predictions[columns].equals(alone.predictions[columns])
    assert [point["step"] for point in shared.result["curve"]] == [2, 3, 4, 6]  # what is logged, and a validation
    for ours, wanted in zip(shared.result["curve"], alone.result["curve"], strict=True):
        assert ours["loss"] == pytest.approx(wanted["loss"], rel=0.02)  # bfloat16, other products: the same curve, not another one
    assert ("train", 6, 6) in said
    assert dict(os.environ) == before


def _module(config: RunConfig, truth: bool) -> FilaModule:
    module = FilaModule.from_config(config)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    if truth:
        torch.manual_seed(5)
        module.truth = Truth(4 * TRUTH_WIDTH, config.language.width).requires_grad_(False)
        module.config = config.model_copy(update={"train": config.train.model_copy(update={"truth_weight": 3.0})})
    return module


TRUTH_WIDTH = 6


def _batches(config: RunConfig, cache_dir: Path, rank: int, world: int, truth: bool) -> list[Batch]:
    """The rank's parts of global batches of 7, 2 and 1 rows, with 1 to 9 answer tokens a row; and of 2 rows that are texts alone."""
    pool = open_data(config, cache_dir, ("train",))["train"]
    collator = Collator(config, pool, None, FilaModule.from_config(config).model.tokenizer)
    draw = np.random.default_rng(0)
    answers = ["".join(draw.choice(list("ABCDEFGH"), draw.integers(0, 9))) for _ in range(len(pool))]
    pool.turns = lambda rows: [(Turn("red", (answers[row],)),) for row in rows]  # type: ignore[method-assign]
    rows = np.flatnonzero(pool.meta["canvas"].to_numpy() == pool.meta["canvas"].iloc[0])
    found = []
    for batch in (rows[:7], rows[1:3], rows[2:3]):
        share = batch[rank::world] if len(batch) > rank else batch[:1]
        spare = rank >= len(batch)
        made = collator(share, training=True, spare=spare)
        if truth:
            places = made.vision.tiles.shape[1] * 9 + 9
            shown = torch.from_numpy(np.stack([np.random.default_rng(int(r)).random((places, 4 * TRUTH_WIDTH)) for r in share])).float()
            made.truth = shown[:0] if spare else shown
        found.append(made)
    texts = VisionBatch.of(NO_IMAGE, found[1].vision.input_ids, found[1].vision.prompt_lengths)
    return [*found, replace(found[1], vision=texts, truth=None)]


class _Step(torch.nn.Module):
    """training_step as a forward, as Lightning gives it to DDP."""

    def __init__(self, module: FilaModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.module.training_step(batch, 0)


def _gradients(
    config: RunConfig, cache_dir: Path, rank: int, world: int, truth: bool, parts: bool = False
) -> list[dict[str, torch.Tensor]]:
    torch.set_num_threads(1)
    module = _module(config, truth)
    batches = _batches(config, cache_dir, rank, world, truth)
    if parts:
        shard(module.model, init_device_mesh("cpu", (world,)))
        if rank:  # nothing could be read of this rank's share
            batches.append(replace(batches[0], vision=None, labels=batches[0].labels[:0], truth=None))
        else:
            batches.append(batches[0])
    step = DistributedDataParallel(_Step(module)) if world > 1 and not parts else _Step(module)
    found = []
    for batch in batches:
        module.zero_grad(set_to_none=True)
        step(batch).backward()
        found.append({name: whole(p.grad).clone() for name, p in module.model.named_parameters() if p.grad is not None})
    return found


def _rank(rank: int, port: int, fields: dict[str, Any], cache_dir: Path, out: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    config = RunConfig.model_validate(fields)
    found = [_gradients(config, cache_dir, rank, WORLD, truth) for truth in (False, True)]
    parted = _gradients(config, cache_dir, rank, WORLD, False, parts=True)
    pool = open_data(config, cache_dir, ("val",))["val"]
    collator = Collator(config, pool, None, FilaModule.from_config(config).model.tokenizer)
    seen = {}
    for size in (1, 3, 5, 64):  # many batches, and fewer than ranks
        stream = Stream(collator, np.arange(len(pool.meta)), size, None, 0, rank, WORLD)
        seen[size] = gathered([batch.rows for batch in stream])
    torch.save((found, parted, seen), out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_gradients_are_those_of_one_process_and_evaluation_is_shared_out(cache_dir: Path, tmp_path: Path) -> None:
    """Global batches with unequal numbers of answer tokens, one row over, fewer rows than ranks, and texts alone; with and without the
    truth's loss, by DDP, and with weights in parts."""
    config = tiny(fusion__name="addition", runtime__precision="fp32", runtime__feature_cache=False)
    alone = [_gradients(config, cache_dir, 0, 1, truth) for truth in (False, True)]
    task = (_free_port(), config.model_dump(mode="json"), cache_dir, tmp_path)
    torch.multiprocessing.start_processes(_rank, task, WORLD, start_method="spawn")
    pool = open_data(config, cache_dir, ("val",))["val"]
    collator = Collator(config, pool, None, FilaModule.from_config(config).model.tokenizer)
    for rank in range(WORLD):
        found, (*parted, unread), seen = torch.load(tmp_path / f"{rank}.pt")
        assert not any(gradient.any() for gradient in unread.values()), "where a rank sees nothing, none does, and none waits"
        for ours, wanted in zip(chain(*found, parted), chain(*alone, alone[0]), strict=True):
            assert ours.keys() == wanted.keys()
            for name, gradient in wanted.items():
                assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-9, name
        for size, batches in seen.items():
            stream = Stream(collator, np.arange(len(pool.meta)), size, None)
            assert list(chain(*batches)) == list(chain(*(batch.rows for batch in stream)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_batch_without_answers_is_an_error_not_a_divergence(cache_dir: Path) -> None:
    config = tiny(fusion__name="addition", runtime__feature_cache=False)
    module = _module(config, truth=False)
    batch = _batches(config, cache_dir, 0, 1, truth=False)[0]
    labels = torch.full_like(batch.labels, IGNORE)
    assert module.model(batch.vision, labels).loss == 0
    batch.labels = labels
    with pytest.raises(Exception, match="no answer tokens"):
        module.training_step(batch, 0)


def _kill(rank: int, how: signal.Signals, when: threading.Event | None) -> threading.Thread:
    """Kill a rank of the running cell: as soon as it is there, or when the event says."""

    def watch() -> None:
        if when is not None:
            when.wait(120)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for child in psutil.Process().children():
                try:
                    if child.environ().get("LOCAL_RANK") == str(rank):
                        child.send_signal(how)
                        return
                except psutil.Error:
                    continue
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("rank", range(WORLD))
def test_a_rank_that_dies_before_it_joins_ends_the_cell_undone(
    rank: int, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "SETTLING", 0.2)  # the other has not joined either, and can tell nothing
    started = time.monotonic()
    killer = _kill(rank, signal.SIGKILL, None)
    with pytest.raises(MachineError, match=rf"rank {rank} of 2 was ended from outside \(signal 9"):
        run_cell(two(), workdir=tmp_path, cache_dir=cache_dir)
    killer.join()
    assert time.monotonic() - started < 30
    assert not [child for child in psutil.Process().children() if "LOCAL_RANK" in child.environ()]


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["train", "evaluate"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("rank", range(WORLD))
def test_a_rank_that_dies_at_work_ends_the_cell(rank: int, how: signal.Signals, phase: str, cache_dir: Path, tmp_path: Path) -> None:
    reached, ended = threading.Event(), []
    killer = _kill(rank, how, reached)

    def progress(name: str, done: int, total: int) -> None:
        if name == phase and not reached.is_set():
            reached.set()
            killer.join()
            ended.append(time.monotonic())

    config = two(train__steps=40, train__log_every=1, train__eval_batch_size=1)
    if how is signal.SIGKILL:
        with pytest.raises(MachineError, match=rf"rank {rank} of 2"):
            run_cell(config, workdir=tmp_path, cache_dir=cache_dir, progress=progress)
    else:
        outcome = run_cell(config, workdir=tmp_path, cache_dir=cache_dir, progress=progress)
        assert outcome.result["failure"]["kind"] == "error"
        assert f"rank {rank} of 2 died of signal 11" in outcome.result["failure"]["message"]
    assert time.monotonic() - ended[0] < 30


@pytest.mark.slow
def test_the_failure_of_any_rank_is_the_cells(cache_dir: Path, tmp_path: Path) -> None:
    outcome = run_cell(two(train__learning_rate=1e30, train__log_every=1), workdir=tmp_path, cache_dir=cache_dir)
    assert outcome.result["failure"]["kind"] == "not_finite"
    assert outcome.result["failure"]["message"].startswith("rank ")


@pytest.mark.parametrize("devices", [1, 2])
def test_a_job_of_slurm_is_no_training_of_its_tasks(devices: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study in an sbatch job of several tasks: Lightning would take them for the ranks of each cell, and refuse it."""
    job = {"NTASKS": "4", "NTASKS_PER_NODE": "4", "JOB_ID": "7", "JOB_NAME": "study", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    trainer = make_trainer(tiny(runtime__devices=devices), tmp_path)
    assert trainer.world_size == devices
    assert trainer.global_rank == 0
