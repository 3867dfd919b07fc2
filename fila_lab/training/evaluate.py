"""`fila-lab evaluate`: a trained cell answers the questions of benchmarks that its study did not name."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fila_lab.config import ConfigError, FilaError, RunConfig
from fila_lab.config.runtime_checks import check_compiler
from fila_lab.config.stage_runs import stages_of
from fila_lab.config.suites import EvaluationConfig
from fila_lab.data.opening import open_pools
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import Pool
from fila_lab.data.suite import SetAside, TaskRule
from fila_lab.evaluation.aggregates import AGGREGATES, Scored
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.precision import autocast
from fila_lab.training.asking import answered, with_frozen_maps
from fila_lab.training.batches import Collator
from fila_lab.training.cell import predictions_frame
from fila_lab.training.data import check_judged_pools
from fila_lab.training.features import needs_detail
from fila_lab.training.prompts import prompt_of
from fila_lab.training.streams import Stream, loader
from fila_lab.training.trained import fill, trained_parts

MOST_ASIDE = 0.999999
"""Share of rows that may be unusable: all but none, for they are counted beside the figures."""


@dataclass(frozen=True)
class Evaluated:
    """A benchmark: how its tasks are judged, a line an answered question, its figures (by task where there are several; none without
    answers to judge by), the rows that were not used, and how many answers language.answer_tokens cut off."""

    name: str
    rules: Mapping[str, TaskRule]
    predictions: pd.DataFrame
    figures: dict[str, float]
    aside: tuple[SetAside, ...]
    cut_off: int

    @property
    def reasons(self) -> dict[str, int]:
        """Why rows were not used -> how many."""
        return dict(Counter(row.reason for row in self.aside))

    @property
    def empty(self) -> int:
        """How many answers say nothing."""
        return sum(not text.strip() for text in self.predictions["prediction"])


Keep = Callable[[str, pd.DataFrame], None]
"""Is given a benchmark's name and predictions, before they are judged."""


def evaluate(
    cell: Path,
    benchmarks: Mapping[str, EvaluationConfig],
    cache_dir: Path,
    workers: int = 1,
    progress: Progress | None = None,
    keep: Keep | None = None,
    model: FilaModel | None = None,
) -> list[Evaluated]:
    """Ask the cell whose folder is `cell` all questions of each benchmark, as its own evaluation would.

    workers: processes that read and prepare images; progress: told (benchmark, rows done, rows); keep: given
    the predictions of each benchmark when it is done, so that what happens to the next one takes none away; model: what is asked in a
    cell's place, where the folder is a saved model's.

    Raises:
        FilaError: no trained parts in the cell, a cell that reads truth maps, a benchmark that is unknown or not there, or one of whose
            rows none can be used or that cannot be judged, or a cell that was compiled where no compiler is.
    """
    config, state = trained_parts(cell, "CELL") if model is None else (model.config, {})
    if config.fusion.control == "oracle_map":
        raise FilaError(f"CELL = {cell}: this cell reads truth maps, which only generated items have; choose a cell of another arm")
    if model is None:
        check_compiler(config.runtime)
    kept = {"bad_rows": MOST_ASIDE, "workers": workers, "evaluate": dict(benchmarks)}
    config = config.model_copy(update={"data": config.data.model_copy(update=kept)})
    pools = open_pools(config.data, config.geometry, cache_dir, "test", max(workers, 1), progress)
    check_judged_pools(pools)
    if model is None:
        model = build_model(config)
        fill(model, state, cell, "CELL")
        if config.runtime.compile:
            model.encoder.compile_towers()
        model.to("cuda" if config.runtime.accelerator == "gpu" and torch.cuda.is_available() else "cpu")
    if _sees_frozen(config) and model.encoder.convnext is not None:
        model.encoder.convnext.to(memory_format=torch.channels_last)
    torch.set_num_threads(config.runtime.threads)
    return [_asked(name, pool, model, config, progress, keep) for name, pool in pools.items()]


def _asked(name: str, pool: Pool, model: FilaModel, config: RunConfig, progress: Progress | None, keep: Keep | None) -> Evaluated:
    device = next(model.eval().parameters()).device
    prompt = prompt_of(config.language.template, model.tokenizer, config.language.max_tokens)
    stream = Stream(Collator(config, pool, None, model.tokenizer), np.arange(len(pool)), config.train.eval_batch_size, None)
    batches, done = [], 0
    aside = list(pool.aside)
    for batch in loader(stream, config.data.workers):
        if batch.vision is not None:
            vision = batch.vision.to(device)
            with autocast(config.runtime.precision, device.type):
                vision = with_frozen_maps(model, vision) if _sees_frozen(config) else vision
                batches.append(list(zip(batch.rows, answered(model, prompt, vision), strict=True)))
        aside += batch.aside
        done += len(batch.rows) + len(batch.aside)
        if progress:
            progress(name, done, len(pool))
    if not any(batches):
        raise FilaError(f"{name}: none of its {len(pool)} rows can be used, the first because {aside[0].message}; mend the files")
    frame = predictions_frame(pool, batches)
    if keep:
        keep(name, frame)
    cut_off = sum(not answer.whole for batch in batches for _, answer in batch)
    return Evaluated(name, pool.rules, frame, _figures(frame, pool.rules), tuple(aside), cut_off)


def _sees_frozen(config: RunConfig) -> bool:
    return needs_detail(config) and not stages_of(config)[-1].run.convnext.trainable


def _figures(frame: pd.DataFrame, rules: Mapping[str, TaskRule]) -> dict[str, float]:
    judged = frame[frame["score"].notna()].rename(columns={"item_id": "id"})
    found: dict[str, float] = {}
    for task, rows in judged.groupby("task", observed=True):
        rule = rules[str(task)]
        own = AGGREGATES[rule.aggregate](Scored(rows, rule.score, rule.by))
        found |= {name if len(rules) == 1 else f"{task}: {name}": value for name, value in own.items() if name != "n"}
    return found


def prediction_files(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """Benchmark -> where its predictions go: `out` itself for one benchmark where it ends in .jsonl, else <out>/<benchmark>.jsonl.

    Raises:
        ConfigError: something is there, or nothing can be written there.
    """
    single = out.suffix == ".jsonl"
    if single and len(names) > 1:
        raise ConfigError(f"--out = {out} is one file for {len(names)} benchmarks; give a folder")
    paths = {name: out if single else out / f"{name}.jsonl" for name in names}
    for path in paths.values():
        if path.exists() or path.is_symlink():
            raise ConfigError(f"--out: {path} is there already, and is not written over; give another name")
        above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            why = "may not be written to" if above.is_dir() else "is no folder"
            raise ConfigError(f"--out = {out}: {above} {why}; give another folder, or FILE.jsonl for one benchmark")
    return paths


def write_predictions(path: Path, predictions: pd.DataFrame) -> None:
    """A line of JSON with id and prediction for each question, as `fila-lab score` reads them; nothing is ever written over.

    Raises:
        ConfigError: the file cannot be written, or is there by now.
    """
    lines = [
        json.dumps({"id": name, "prediction": text}, ensure_ascii=False)
        for name, text in zip(predictions["item_id"], predictions["prediction"], strict=True)
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written ({error.strerror}); give another name") from error
