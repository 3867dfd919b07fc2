"""What a training step costs through the whole real path beside a bare loop over the same tensors, training stage by training stage.

`python -m benchmarks.real_path`: exported pages in LLaVA's format, read and prepared by another process (ReadPool), an arm of `mini` in two
training stages under Lightning's Trainer, with the records that a cell keeps; then the same batches in ten lines of PyTorch. Rounds
alternate; ratios are of one round. Nothing else should run beside it. Writes real_path.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console

from benchmarks.files import files_config
from benchmarks.lines import Line
from benchmarks.mini_training import quiet
from benchmarks.report import write_record
from fila_lab.config import RunConfig
from fila_lab.config.stage_runs import Stage
from fila_lab.data.seam.export import export
from fila_lab.modeling.precision import autocast
from fila_lab.training import FilaModule
from fila_lab.training.batches import Batch
from fila_lab.training.data import open_stages, stage_features
from fila_lab.training.fit import Fit
from fila_lab.training.record import Recorder

STEP_OVER_BARE_AT_MOST = 1.05
WARM_UP = 10
"""Steps of a stage before the processes that make its batches have started."""
ALIGN = {"name": "align", "trains": ["projector", "fusion"]}
INSTRUCT = {"name": "instruct", "trains": ["projector", "fusion", "language"]}


def staged_config(data: Path, arm: str, steps: int, workers: int, **runtime: Any) -> RunConfig:
    """`mini` on a LLaVA-format file, `steps` steps in each of two stages; no validation but at their ends."""
    config = files_config(data, arm, steps, workers)
    train = {"stages": [{**stage, "steps": steps} for stage in (ALIGN, INSTRUCT)], "log_every": 10}
    content = config.model_dump(mode="json", context={"whole": True})
    return RunConfig.model_validate({**content, "train": content["train"] | train, "runtime": content["runtime"] | runtime})


class Clocked(Recorder):
    """A cell's own record, and when each step of each stage ended."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config.train.log_every, None, config.train.steps, config.train.validate_every)
        self.ended: dict[str, list[float]] = {}

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
        self.ended.setdefault(self.stage, []).append(time.perf_counter())


def made_fit(config: RunConfig, folder: Path, cache_dir: Path) -> Fit:
    """What a cell trains with, from the start."""
    pools = open_stages(config, cache_dir, ("train", "val"))
    seen = stage_features(config, pools, cache_dir)
    module = FilaModule.from_config(config, detail_branch=True)
    return Fit(config, module, Clocked(config), folder, pools, seen)


def real_seconds(fit: Fit) -> dict[str, float]:
    """Stage -> seconds a step of its fit, from the end of the WARM_UP-th step to that of the last."""
    fit.run()
    assert isinstance(fit.record, Clocked)
    return {stage: (ended[-1] - ended[WARM_UP - 1]) / (len(ended) - WARM_UP) for stage, ended in fit.record.ended.items()}


def bare_seconds(fit: Fit, stage: Stage) -> float:
    """The same in ten lines of PyTorch, on batches that lie in memory."""
    batches = list(islice(fit.data[stage.number].train_dataloader(), stage.steps))
    module = fit.module.train()
    module.enter(stage)
    optimiser = module.configure_optimizers()["optimizer"]
    parameters = module.model.trainable_parameters()
    began = 0.0
    for number, batch in enumerate(batches):
        if number == WARM_UP:
            began = time.perf_counter()
        assert batch.vision is not None
        with autocast(fit.config.runtime.precision):
            loss = module.model(module.seen(batch.vision), batch.labels).loss
        assert loss is not None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, fit.config.train.gradient_clip)
        optimiser.step()
        optimiser.zero_grad()
    return (time.perf_counter() - began) / (len(batches) - WARM_UP)


def measure(config: RunConfig, folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Stage -> seconds a step of both, and their ratio, round by round."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(rounds):
        real = real_seconds(made_fit(config, folder / f"round-{number}", folder / "cache"))
        plain = made_fit(config, folder / "unused", folder / "cache")
        for stage in plain.stages:
            own = found.setdefault(stage.name, {"real": [], "bare": [], "ratio": []})
            bare = bare_seconds(plain, stage)
            for name, value in (("real", real[stage.name]), ("bare", bare), ("ratio", real[stage.name] / bare)):
                own[name].append(value)
    return found


def main() -> None:
    """Measure on one thread, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_path", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for real_path.json")
    parser.add_argument("--arm", default="concat", help="of mini")
    parser.add_argument("--items", type=int, default=1000, help="exported pages")
    parser.add_argument("--steps", type=int, default=60, help=f"of each stage; the first {WARM_UP} do not count")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="with runtime.compile, on both sides")
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = staged_config(folder / "pages", options.arm, options.steps, options.workers, compile=options.compile)
        export(config.data.seam, config.geometry, "train", options.items, folder / "pages")
        found = measure(config, folder, options.rounds)
    told = "step through the whole path over a bare one"
    lines = [
        Line(stage, config.runtime.precision, told, statistics.median(own["ratio"]), STEP_OVER_BARE_AT_MOST) for stage, own in found.items()
    ]
    for line in lines:
        console.print(line.arm, str(line), highlight=False)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    path = write_record(options.out, "real_path", settings, stages=found, lines=[line.record() for line in lines])
    console.print(f"written: {path}", highlight=False, markup=False)


if __name__ == "__main__":
    main()
