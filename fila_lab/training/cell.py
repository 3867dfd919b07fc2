"""run_cell: the one function that turns a RunConfig into a result. A pure function of its config, the data and the weights."""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.faults import first_fault, is_out_of_memory, machine_fault, spoken
from fila_lab.config.journal import Journal
from fila_lab.config.language_folder import lacking_tokens, template_warning
from fila_lab.config.renamed import SCHEMA
from fila_lab.config.weights import weights_file
from fila_lab.cost.closed.heap import give_back_large_blocks
from fila_lab.cost.closed.memory import greatest_part
from fila_lab.data.pool import Pool
from fila_lab.data.prompt import UNASKED
from fila_lab.data.stored_pool import StoredPool
from fila_lab.data.suite import SPLITS, SetAside
from fila_lab.evaluation import aggregated, judged, measured, question_only
from fila_lab.modeling import FilaModel
from fila_lab.modeling.fingerprints import language_sha256, tower_sha256
from fila_lab.modeling.generation import Answer
from fila_lab.training.data import TRAIN, VAL, CellData, check_judged_pools, look_at_data, open_stages, stage_features
from fila_lab.training.features import needs_detail
from fila_lab.training.fit import Ends, Fit
from fila_lab.training.interrupts import ctrl_c_passes
from fila_lab.training.module import FilaModule, NotFiniteError
from fila_lab.training.ranks import run_ranks, shared_out
from fila_lab.training.record import Progress, Recorder, Stop
from fila_lab.training.shares import gathered
from fila_lab.training.trained import save_state, trained_state
from fila_lab.training.trainer import set_up_device, validation_interval

log = logging.getLogger("fila_lab")


@dataclass
class CellOutcome:
    """What a cell hands to the driver: the result as JSON-ready data, predictions, and what the manifest needs."""

    result: dict[str, Any]
    predictions: pd.DataFrame | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def run_cell(
    config: RunConfig,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Progress | None = None,
    test: bool = True,
    checkpoint: Path | None = None,
    stop: Stop | None = None,
    ends: Ends = (),
    last: int | None = None,
) -> CellOutcome:
    """Train and evaluate one cell.

    Args:
        config: the cell.
        workdir: the cell's own folder, for checkpoints to resume from.
        cache_dir: pools and features shared by all cells.
        progress: called with (phase, done, total).
        test: whether the test pool is read; tuning cells use validation items only.
        checkpoint: where to write the trained parts, if wanted.
        stop: asked after each validation whether to end the cell there; a search that prunes has one. Every rank is given it (pickled).
        ends: where the ends of its first training stages may lie, which it then does not train again (`fila_lab.training.shared_stages`).
        last: number of the training stage after which it ends, unevaluated; its end lies in `workdir` then. None: all of them.

    Returns:
        The outcome. A failure of the cell's own is an outcome too (status "failed"), and so is having been stopped (status "pruned"): the
        curve up to there, nothing evaluated and no trained parts.

    Raises:
        MachineError: the machine failed (disk, cache, checkpoint, device), not the cell: there is nothing to record, and the same call
            goes on after the mend.
        KeyboardInterrupt: passes through.
    """
    timing: dict[str, float] = {}
    started = time.perf_counter()
    train = config.train
    record = Recorder(train.log_every, progress, train.steps, validation_interval(config), stop, Journal(workdir))
    try:
        if shared_out(config):
            look_at_data(config, cache_dir, SPLITS if test and last is None else (TRAIN, VAL), progress)
            there = tuple(end if end is not None and end.exists() else None for end in ends)  # looked at once, for all ranks alike
            options = {"workdir": workdir, "cache_dir": cache_dir, "test": test, "checkpoint": checkpoint, "stop": stop}
            return run_ranks(config, options | {"ends": there, "last": last}, progress)
        with ctrl_c_passes(), _quiet_lightning():
            result, predictions, provenance = _run(config, workdir, cache_dir, progress, test, checkpoint, timing, record, ends, last)
    except Exception as error:
        if (fault := machine_fault(error)) is not None:
            raise fault from (fault.__cause__ if fault is error else error)
        timing["total"] = time.perf_counter() - started
        kind, message = failure_kind(error), spoken(error)
        if kind == "out_of_memory":
            message += f"; of a cell of this configuration {greatest_part(config)}"
        failure = {"kind": kind, "message": message, "traceback": traceback.format_exc(limit=-12)}
        return CellOutcome(_result(config, "failed", {}, record.curve, timing, failure), provenance=record.provenance)
    timing["total"] = time.perf_counter() - started + record.earlier
    if record.stopped is not None:
        content = _result(config, "pruned", result, record.curve, timing, None) | {"pruned": record.stopped}
        return CellOutcome(content, None, provenance)
    return CellOutcome(_result(config, "done", result, record.curve, timing, None), predictions, provenance)


def failure_kind(error: Exception) -> str:
    """The cause under which a failed cell is listed: out_of_memory, not_finite, bad_input or error."""
    if is_out_of_memory(error):
        return "out_of_memory"
    first = first_fault(error)
    if isinstance(first, NotFiniteError):
        return "not_finite"
    return "bad_input" if isinstance(first, FilaError) else "error"


def prepare_caches(configs: list[RunConfig], cache_dir: Path, workers: int, progress: Progress | None = None) -> None:
    """Build every pool and every feature file that these cells will read, once, with all workers; then cells only read."""
    for config in configs:
        pools = open_stages(config, cache_dir, SPLITS, workers, progress)
        stage_features(config, pools, cache_dir, workers, progress)


def _run(
    config: RunConfig,
    workdir: Path,
    cache_dir: Path,
    progress: Progress | None,
    test: bool,
    checkpoint: Path | None,
    timing: dict,
    record: Recorder,
    ends: Ends,
    last: int | None,
) -> tuple[dict[str, Any], pd.DataFrame | None, dict[str, Any]]:
    """(what the result says of quality and of rows that could not be used, predictions, provenance)"""
    set_up_device(config)
    give_back_large_blocks(config)
    with _timed(timing, "data"):
        by_stage = open_stages(config, cache_dir, SPLITS if test and last is None else (TRAIN, VAL), progress=progress)
        check_judged_pools(by_stage[-1])
    with _timed(timing, "features"):
        seen = stage_features(config, by_stage, cache_dir, progress=progress)
    with _timed(timing, "start"):
        module = FilaModule.from_config(config, detail_branch=any(None in each.values() for each in seen))
        if lacking_tokens(config.language) is None and (warning := template_warning(config.language, module.prompt.lacking)):
            log.warning("%s", warning)
        weights = weights_used(config, module.model)
        fit = Fit(config, module, record, workdir, by_stage, seen, ends)
        record.bad_rows, record.total = config.data.bad_rows, fit.total
    with _timed(timing, "train"):
        trainer = fit.run(last)
    found: dict[str, Any] = {}
    predictions = None
    if record.stopped is None and last is None:
        assert trainer is not None  # the last stage has one
        data, pools = fit.data[-1], by_stage[-1]
        record.rows, record.trained_on = {name: len(rows) for name, rows in data.rows.items()}, TRAIN
        if progress:
            progress("evaluate", 0, 1)
        with _timed(timing, "evaluate"):
            found, predictions = _evaluated(trainer, fit.module, data, pools, test)
        with _timed(timing, "save"):
            first = trainer.is_global_zero
            state = trained_state(fit.module.model, keep=first and checkpoint is not None)
            if first and checkpoint is not None:
                save_state(state, config, checkpoint)
    timing["train"] += record.earlier
    timing |= record.seconds | {"loading": fit.seconds, "waiting": record.waited}
    timing["images_per_second"] = record.images_per_second()
    pools = fit.named_pools
    hashes = {name: pool.content_hash for name, pool in pools.items()}
    provenance = {"data_hash": hashes, "weights": weights, **record.provenance}
    aside = {name: _told(pool.aside) for name, pool in pools.items()}
    for name, of_prompts in (("unreadable", False), ("unasked", True)):
        aside[name] = _told([row for row in record.aside.values() if (row.reason in UNASKED) == of_prompts])
    found["set_aside"] = {name: told for name, told in aside.items() if told}
    return found, predictions, provenance


def _evaluated(
    trainer: L.Trainer, module: FilaModule, data: CellData, pools: Mapping[str, Pool], test: bool
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """(what the result says of quality, predictions of the tests) of the trained model."""
    answers = trainer.predict(module, data)
    assert answers is not None
    loaders = [gathered(loader) for loader in (answers if test else [answers])]
    validation = measured(predictions_frame(pools[VAL], loaders[0]), pools[VAL].rules)
    predictions, metrics, benchmarks = None, {}, {}
    if test:
        tested = {name: predictions_frame(pools[name], told) for name, told in zip(data.tests, loaders[1:], strict=True)}
        rules = {task: rule for name in data.tests for task, rule in pools[name].rules.items()}
        predictions = pd.concat(tested.values(), ignore_index=True) if len(tested) > 1 else next(iter(tested.values()))
        metrics = measured(predictions, rules) | _blind(data, pools)
        benchmarks = {name: own for name, frame in tested.items() if (own := aggregated(frame, pools[name].rules))}
    counts = {name: _counted(told) for name, told in zip((VAL, *data.tests), loaders, strict=False)}  # no tests of a tuning cell
    return {"metrics": metrics, "validation": validation, "benchmarks": benchmarks, "answers": counts}, predictions


def _told(rows: Sequence[SetAside]) -> dict[str, dict[str, Any]]:
    """Reason -> how many rows were not used for it, and the first of them in a sentence."""
    told: dict[str, dict[str, Any]] = {}
    for row in rows:
        told.setdefault(row.reason, {"rows": 0, "first": row.message})["rows"] += 1
    return told


def weights_used(config: RunConfig, model: FilaModel) -> dict[str, str]:
    """sha256 of the weights a cell starts from, before training: the towers', and the answer model's where they were loaded.

    (A random answer model is a function of the seed, which the config holds.)
    """
    weights = {} if model.encoder.vit is None else {"vit": tower_sha256(config, "vit", model.encoder.vit)}
    if needs_detail(config):
        weights["convnext"] = tower_sha256(config, "convnext")
    if config.language.weights != "random":
        file = weights_file(config.language.weights)
        loaded = torch.nn.ModuleDict({"language": model.language}) if file is None else model.answer_parts
        weights["language"] = language_sha256(config, loaded)
    return weights


def _counted(batches: list[list[tuple[int, Answer]]]) -> dict[str, int]:
    """How many answers were given, how many of them language.answer_tokens cut off, and how many say nothing."""
    told = [answer for batch in batches for _, answer in batch]
    ended = [answer.whole for answer in told]
    return {"given": len(told), "cut_off": ended.count(False), "empty": sum(not answer.text.strip() for answer in told)}


def predictions_frame(pool: Pool, batches: list[list[tuple[int, Answer]]]) -> pd.DataFrame:
    """One line an item that could be read and asked: what is known of it, the answer given, its score, and whether it is right.

    Raises:
        FilaError: there is none.
    """
    told = [each for batch in batches for each in batch]
    if not told:
        raise FilaError(
            f"none of the {len(pool)} {pool.split} rows could be used: their images cannot be read, or their questions not be asked by "
            "language.template within language.max_tokens; `fila-lab data check` looks at them"
        )
    rows = np.array([row for row, _ in told], np.int64)
    frame = judged(pool.describe(rows).assign(prediction=[answer.text for _, answer in told]), pool.rules)
    return frame.sort_values(["item_id", "place"], kind="stable").reset_index(drop=True)


def _blind(data: CellData, pools: Mapping[str, Pool]) -> dict[str, float]:
    """What the question alone is worth, of tests whose suite is trained on too and whose rows are at hand."""
    train = pools[TRAIN]
    stored = [pools[name] for name in data.tests if isinstance(pools[name], StoredPool)]
    if not isinstance(train, StoredPool) or not stored:
        return {}
    return question_only(train.meta.iloc[data.rows[TRAIN]], pd.concat([pool.meta for pool in stored], ignore_index=True))


@contextmanager
def _timed(timing: dict[str, float], part: str) -> Iterator[None]:
    """Seconds of a part of the cell; a part that fails is timed too."""
    clock = time.perf_counter()
    try:
        yield
    finally:
        timing[part] = time.perf_counter() - clock


def _result(config: RunConfig, status: str, found: Mapping[str, Any], curve: list, timing: dict, failure: dict | None) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "status": status,
        "config": config.model_dump(mode="json"),
        **{name: found.get(name, {}) for name in ("metrics", "validation", "benchmarks", "answers", "set_aside")},
        "curve": curve,
        "timing": {name: round(value, 3) for name, value in timing.items()},
        "failure": failure,
    }


@contextmanager
def _quiet_lightning() -> Any:
    """Lightning's banners and hints, said once per cell, would bury the study's own progress."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


__all__ = ["CellOutcome", "prepare_caches", "run_cell"]
