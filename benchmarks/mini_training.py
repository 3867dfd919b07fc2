"""What Lightning, the input and everything around the steps cost in `mini` training, arm by arm, in one process and one run.

`python -m benchmarks.mini_training`: blocks of steps of each arm alternate between FilaModule under Lightning's Trainer (input read from
the caches) and a bare loop over the same model and tensors, one for each attention backend, the best of which counts. Ratios are medians
over rounds of the blocks of one round; the first round warms up and is dropped.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from fila_lab.config import RunConfig, resolve_run
from fila_lab.data import StoredPool
from fila_lab.training import FilaModule, prepare_caches, run_cell
from fila_lab.training.batches import Batch
from fila_lab.training.data import CellData, open_data, seen_features
from fila_lab.training.features import Features
from fila_lab.training.trainer import make_trainer

ARMS = ("none", "concat", "addition", "cross_attention")
BACKENDS = ("math", "flash", "auto")
POOLS = {"data.train_pool": 2000, "data.train_items": 1500, "data.val_pool": 300, "data.val_items": 200, "data.test_triplets": 100}
SHARE_OF_NONE = {"concat": 0.6, "cross_attention": 0.45}
"""Least images/s, as a share of `none`."""
STEP_OVER_BARE, OUTSIDE, INPUT_OVER_RAM = 1.15, 0.10, 1.10
SPLITS = ("train", "val", "test")


def arm_config(arm: str, steps: int, **runtime: Any) -> RunConfig:
    """`mini` with small pools; validation at half time and at the end, as in the published study."""
    fields = {"fusion.name": arm, "train.steps": steps, "train.validate_every": max(1, steps // 2)}
    return resolve_run("mini", POOLS, fields, {f"runtime.{name}": value for name, value in runtime.items()})


def open_cell(config: RunConfig, cache_dir: Path, in_ram: bool = False) -> CellData:
    """The data of a cell; `in_ram` copies what the caches map, so that reading costs no more than memory does."""
    tokenizer = FilaModule.from_config(config).model.tokenizer
    pools = open_data(config, cache_dir, SPLITS)
    features = seen_features(config, pools, cache_dir)
    for name, pool in pools.items() if in_ram else ():
        assert isinstance(pool, StoredPool)
        for group in pool.groups.values():
            vars(group).update({array: np.array(getattr(group, array)) for array in ("tiles", "overview", "detail")})
        seen = features[name]
        features[name] = Features({part: np.array(array) for part, array in seen.records.items()}, seen.shapes) if seen else None
    return CellData(config, pools, features, tokenizer)


class Between(Callback):
    """Seconds and images from the end of the first step to the end of the last: steps and all that lies between them."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.images = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.last = time.perf_counter()
        if self.first:
            self.images += len(batch.rows)
        else:
            self.first = self.last


def lightning_block(config: RunConfig, module: FilaModule, data: CellData) -> float:
    """Images per second of a fit of `train.steps` steps, the first not counted; no validation, as the bare loop has none."""
    clock = Between()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, Path(folder), clock)
        trainer.limit_val_batches = 0
        trainer.fit(module, train_dataloaders=data.train_dataloader())
    return clock.images / (clock.last - clock.first)


def bare_block(module: FilaModule, batches: list[Batch], optimiser: torch.optim.Optimizer, clip: float) -> float:
    """The same steps in ten lines of PyTorch: autocast, backward, clipping, AdamW; tensors in RAM."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    first, images = 0.0, 0
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=module.config.runtime.precision == "bf16"):
            loss = module.model(batch.vision, batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        optimiser.zero_grad()
        if first:
            images += len(batch.rows)
        else:
            first = time.perf_counter()
    return images / (time.perf_counter() - first)


def runners(arm: str, cache_dir: Path, steps: int) -> dict[str, Callable[[], float]]:
    """Name -> a block of steps that returns images per second: `lightning`, and `bare/<backend>`. Every one has its own model."""
    config = arm_config(arm, steps)
    data = open_cell(config, cache_dir)
    batches = list(islice(data.train_dataloader(), steps))
    module = FilaModule.from_config(config)
    found: dict[str, Callable[[], float]] = {"lightning": partial(lightning_block, config, module, data)}
    for backend in BACKENDS:
        bare = FilaModule.from_config(arm_config(arm, steps, attention=backend)).train()
        optimiser = bare.configure_optimizers()["optimizer"]
        found[f"bare/{backend}"] = partial(bare_block, bare, batches, optimiser, config.train.gradient_clip)
    return found


def measure_steps(cache_dir: Path, arms: tuple[str, ...], steps: int, rounds: int) -> dict[str, Any]:
    """Images per second of every arm and runner, round by round, and the ratios."""
    blocks = {(arm, name): run for arm in arms for name, run in runners(arm, cache_dir, steps).items()}
    speeds: dict[tuple[str, str], list[float]] = {key: [] for key in blocks}
    for _ in range(1 + rounds):
        for key, run in blocks.items():
            speeds[key].append(run())
    speeds = {key: values[1:] for key, values in speeds.items()}
    found: dict[str, Any] = {}
    for arm in arms:
        best = max((f"bare/{backend}" for backend in BACKENDS), key=lambda name: statistics.median(speeds[arm, name]))
        found[arm] = {
            "images_per_second": {name: round(statistics.median(speeds[arm, name]), 1) for owner, name in blocks if owner == arm},
            "best_backend": best.removeprefix("bare/"),
            "step_over_bare": ratio(speeds[arm, best], speeds[arm, "lightning"]),
            "share_of_none": ratio(speeds[arm, "lightning"], speeds[arms[0], "lightning"]),
        }
    return found


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median, least and greatest of the ratios round by round."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": round(statistics.median(values), 3), "least": round(min(values), 3), "greatest": round(max(values), 3)}


def measure_input(cache_dir: Path, arms: tuple[str, ...], rounds: int, batches: int = 40) -> dict[str, Any]:
    """Time of making a batch from the warm caches over that from arrays in RAM, and milliseconds a batch; three rounds to one of steps,
    for a batch is made in milliseconds.
    """
    found = {}
    for arm in arms:
        config = arm_config(arm, 1)
        sources = {"cache": open_cell(config, cache_dir), "ram": open_cell(config, cache_dir, in_ram=True)}
        seconds: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(1 + 3 * rounds):
            for name, data in sources.items():
                before = data.seconds
                for _batch in islice(data.train_dataloader(), batches):
                    pass
                seconds[name].append((data.seconds - before) / batches)
        found[arm] = {
            "over_ram": ratio(seconds["cache"][1:], seconds["ram"][1:]),
            "milliseconds": round(1e3 * statistics.median(seconds["cache"][1:]), 2),
        }
    return found


def measure_cell(cache_dir: Path, arm: str, steps: int) -> dict[str, Any]:
    """A whole cell on warm caches: its timing record, and the share of its time that is neither training nor evaluation steps."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        timing = run_cell(arm_config(arm, steps), workdir=path, cache_dir=cache_dir, checkpoint=path / "model.safetensors").result["timing"]
    work = timing["train_steps"] + timing["validation_steps"] + timing["evaluate_steps"]
    around = {name: timing[name] for name in ("data", "features", "start", "loading", "save")}
    around["loops, logging, metrics"] = round(timing["total"] - work - sum(around.values()), 3)
    return {"steps": steps, "timing": timing, "outside": round(1 - work / timing["total"], 4), "outside_seconds": around}


def measure(
    cache_dir: Path, arms: tuple[str, ...] = ARMS, steps: int = 10, rounds: int = 4, cell_steps: int = 300, cell_arm: str = "concat"
) -> dict[str, Any]:
    """Everything, on one thread. The first arm is the baseline; `cell_steps` 0 leaves the whole cell out."""
    with one_thread():
        prepare_caches([arm_config(arm, steps) for arm in arms], cache_dir, 1)
        return {
            "threads": 1,
            "arms": measure_steps(cache_dir, arms, steps, rounds),
            "input": measure_input(cache_dir, arms, rounds),
            "cell": {"arm": cell_arm} | measure_cell(cache_dir, cell_arm, cell_steps) if cell_steps else None,
        }


@contextmanager
def one_thread() -> Iterator[None]:
    """As a cell of `mini` runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def quiet() -> None:
    """Lightning's banners, one a block, would bury the figures."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as text, each with its target where it has one."""
    text = []
    for arm, values in found["arms"].items():
        speeds = values["images_per_second"]
        over, share = values["step_over_bare"]["median"], values["share_of_none"]["median"]
        text.append(
            f"{arm}: {speeds['lightning']:g} images/s; bare " + ", ".join(f"{name} {speeds[f'bare/{name}']:g}" for name in BACKENDS)
        )
        text.append(f"  step over bare ({values['best_backend']}): {over:.3f}x   {verdict(over <= STEP_OVER_BARE)} <= {STEP_OVER_BARE}")
        if arm in SHARE_OF_NONE:
            text.append(f"  images/s of none: {share:.3f}x   {verdict(share >= SHARE_OF_NONE[arm])} >= {SHARE_OF_NONE[arm]}")
        read = found["input"][arm]
        over, took = read["over_ram"]["median"], read["milliseconds"]
        text.append(f"  input, cache over RAM: {over:.3f}x, {took} ms a batch   {verdict(over <= INPUT_OVER_RAM)} <= {INPUT_OVER_RAM}")
    cell = found["cell"]
    if cell:
        text.append(f"cell of {cell['steps']} steps ({cell['arm']}), {cell['timing']['total']:.1f} s: {cell['outside']:.1%} outside steps")
        text[-1] += f"   {verdict(cell['outside'] < OUTSIDE)} < {OUTSIDE:.0%}"
        text += [f"  {name}: {seconds:.2f} s" for name, seconds in cell["outside_seconds"].items()]
    return text


def verdict(reached: bool) -> str:
    """`reached` or `MISSED`."""
    return "reached" if reached else "MISSED"


def main() -> None:
    """Measure with the cache of --cache and print; --json for the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fila_lab-bench", help="pools and features")
    parser.add_argument("--steps", type=int, default=10, help="steps of a block")
    parser.add_argument("--rounds", type=int, default=4, help="rounds after the warm-up")
    parser.add_argument("--cell-steps", type=int, default=300, help="steps of the whole cell; 0: none")
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    quiet()
    found = measure(chosen.cache, steps=chosen.steps, rounds=chosen.rounds, cell_steps=chosen.cell_steps)
    print("\n".join(lines(found)))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
