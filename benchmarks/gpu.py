"""`make bench-gpu`: encoder, training step and generation on a GPU, over the bare library calls on the same pixels, weights and prompts.

`python -m benchmarks.gpu --preset base`: milliseconds, peak memory and ratios; nothing else on the device; writes gpu.json.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.generation import Prompts
from benchmarks.report import write_record
from benchmarks.scene import Scene, benchmark_config
from fila_lab.config import FilaError, RunConfig
from fila_lab.cost import synthetic_batch
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.precision import autocast

Call = Callable[[], object]
BARE = "bare"
ARMS = ("concat", "cross_attention")
"""Those that look at what both bare towers do."""
WARM_UP = 2
"""Rounds before those that count: kernels are chosen, memory is reserved."""


@dataclass(frozen=True)
class Row:
    """One call of a section: median milliseconds, their range, median over `bare` of the same round, and the most memory that the device
    held beyond what lay there before the call (weights, moments), GiB (NaN on a CPU, which keeps no count)."""

    section: str
    name: str
    milliseconds: float
    least: float
    most: float
    ratio: float
    peak_gib: float


def main(
    out: Annotated[Path, typer.Option(help="folder for gpu.json")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="whose sizes to measure at; weights are random")] = "base",
    precision: Annotated[str, typer.Option(help="bf16, fp16 or fp32")] = "bf16",
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds that count")] = 10,
    images: Annotated[int, typer.Option(min=1, help="images a batch")] = 8,
) -> None:
    """Measure; nothing else should run on the device."""
    console = Console()
    if not torch.cuda.is_available():
        console.print("no CUDA device here, so there is nothing to measure: torch.cuda.is_available() is False; `make bench` measures CPUs")
        raise typer.Exit(2)
    card, capability = torch.cuda.get_device_name(), ".".join(map(str, torch.cuda.get_device_capability()))
    try:
        rows = measure(benchmark_config(preset), precision, rounds, images, "cuda")
    except torch.OutOfMemoryError as error:
        console.print(f"{card}: {error}; lower --images (now {images}), or choose --preset base", style="red", markup=False)
        raise typer.Exit(2) from None
    except FilaError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    table = Table(
        "", "", "ms", "range", "time / bare", "GiB at its peak, over weights", title=f"{card}, {preset}, {precision}, {images} images"
    )
    for row in rows:
        spread = f"{row.least:.1f} to {row.most:.1f}"
        table.add_row(row.section, row.name, f"{row.milliseconds:.1f}", spread, f"{row.ratio:.2f}", f"{row.peak_gib:.2f}")
    console.print(table)
    settings = {"preset": preset, "precision": precision, "rounds": rounds, "images": images, "card": card, "capability": capability}
    settings |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    console.print(f"written: {write_record(out, 'gpu', settings, rows=[asdict(row) for row in rows])}", highlight=False, markup=False)


def measure(config: RunConfig, precision: str, rounds: int, images: int, device: str) -> list[Row]:
    """All three sections, one after the other, so that each has the device's memory for itself."""
    rows = []
    for section, calls in (("encoder", encoder_calls), ("training step", training_calls), ("generation", generation_calls)):
        rows += _rows(section, calls(config, images, device), precision, rounds, device)
        if device == "cuda":
            torch.cuda.empty_cache()
    return rows


def encoder_calls(config: RunConfig, images: int, device: str) -> Mapping[str, Call]:
    """Bare: open_clip's ViT on tiles and overviews, and timm's ConvNeXt on the canvases; arms: from bytes to visual tokens."""
    made = Scene.build(config, images)
    scene = Scene(config, made.vit.to(device), made.convnext.to(device), made.batch.to(device), made.canvas)
    scene.prepare()
    arms = {arm: scene.encoder(arm).to(device) for arm in ARMS}

    def bare() -> object:
        return scene.bare_vit(), scene.bare_convnext()

    without_gradients = {BARE: bare} | {arm: lambda encoder=encoder: scene.encode(encoder) for arm, encoder in arms.items()}
    return {name: torch.inference_mode()(call) for name, call in without_gradients.items()}


def training_calls(config: RunConfig, images: int, device: str) -> Mapping[str, Call]:
    """A step: forward with frozen towers, backward through projector and language model, clip, AdamW. Bare: the libraries' towers,
    PyTorch's projector, transformers' own loss over as many tokens."""
    return {BARE: BareStep(config, images, device).step} | {arm: Step(_with(config, arm), images, device).step for arm in ARMS}


class Step:
    """An arm's model, a batch, and an optimiser of what trains."""

    def __init__(self, config: RunConfig, images: int, device: str) -> None:
        torch.manual_seed(0)
        self.model: FilaModel = build_model(config).to(device)
        self.batch = synthetic_batch(config, images).to(device)
        self.labels = self.batch.input_ids.clone()
        self.labels[:, : int(self.batch.prompt_lengths[0])] = -100
        self.trained = list(self.model.trainable_parameters())
        self.optimiser = torch.optim.AdamW(self.trained, lr=1e-6, fused=device == "cuda")

    def loss(self) -> Tensor:
        """Of the batch."""
        loss = self.model(self.batch, self.labels).loss
        assert loss is not None
        return loss

    def step(self) -> None:
        """One."""
        self.optimiser.zero_grad()
        self.loss().backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()


class BareStep(Step):
    """The same without this package's encoder, sequence and loss: as many visual tokens, whatever stands in them."""

    def __init__(self, config: RunConfig, images: int, device: str) -> None:
        super().__init__(_with(config, "none"), images, device)
        made = Scene.build(config, images)
        self.scene = Scene(config, made.vit.to(device), made.convnext.to(device), made.batch.to(device), made.canvas)
        self.scene.prepare()
        with torch.inference_mode():
            self.visual = self.model.see(self.batch).shape[1]
        width, hidden = config.vit.width, config.language.width
        self.projector = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden)).to(device)
        self.trained = [*self.projector.parameters(), *(value for value in self.model.language.parameters() if value.requires_grad)]
        self.optimiser = torch.optim.AdamW(self.trained, lr=1e-6, fused=device == "cuda")

    def loss(self) -> Tensor:
        """Of the batch, by the library's class."""
        with torch.no_grad():
            tokens = self.scene.bare_vit()
            self.scene.bare_convnext()
        seen = self.projector(tokens).unflatten(0, (len(self.batch), -1)).flatten(1, 2)
        seen = nn.functional.pad(seen, (0, 0, 0, self.visual - seen.shape[1]))  # where row separators stand
        language: Any = self.model.language
        text = language.get_input_embeddings()(self.batch.input_ids)
        labels = nn.functional.pad(self.labels, (self.visual, 0), value=-100)
        loss: Tensor = language(inputs_embeds=torch.cat([seen.to(text.dtype), text], dim=1), labels=labels).loss
        return loss


def generation_calls(config: RunConfig, images: int, device: str) -> Mapping[str, Call]:
    """Greedy answers to questions of mixed length: ours, and transformers' `generate`."""
    prompts = Prompts.drawn(_with(config, "none"), images, config.language.answer_tokens, ended=False, device=device)
    prompts.prepare()
    return {BARE: torch.inference_mode()(prompts.library), "ours": torch.inference_mode()(prompts.ours)}


def _with(config: RunConfig, arm: str) -> RunConfig:
    return config.model_copy(update={"fusion": config.fusion.model_copy(update={"name": arm})})


def _rows(section: str, calls: Mapping[str, Call], precision: str, rounds: int, device: str) -> list[Row]:
    """Rounds in which each call is made once, in an order of the round's own."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    peaks = dict.fromkeys(calls, float("nan"))
    for turn in range(-WARM_UP, rounds):
        for name in random.Random(turn).sample(list(calls), len(calls)):
            took, peak = _timed(calls[name], precision, device)
            if turn >= 0:
                seconds[name].append(took)
                peaks[name] = peak
    found = []
    for name, own in seconds.items():
        ratio = statistics.median(one / bare for one, bare in zip(own, seconds[BARE], strict=True))
        found.append(Row(section, name, 1e3 * statistics.median(own), 1e3 * min(own), 1e3 * max(own), ratio, peaks[name]))
    return found


def _timed(call: Call, precision: str, device: str) -> tuple[float, float]:
    """Seconds of a call, which has ended when the device has done all of it; and GiB at its peak, beyond what lay there before."""
    gpu, held = device == "cuda", 0
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    began = time.perf_counter()
    with autocast(precision, device):
        call()
    if gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began, (torch.cuda.max_memory_allocated() - held) / 2**30 if gpu else float("nan")


if __name__ == "__main__":
    typer.run(main)
