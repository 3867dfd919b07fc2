"""`make bench-gpu`: encoder, training step and generation on a GPU, over the bare library calls on the same pixels, weights and prompts.

`python -m benchmarks.gpu --preset base`: milliseconds, peak memory and ratios, and of a training step its memory in closed form; nothing
else on the device; writes gpu.json. Weights are random and the tokenizer is of characters, so nothing is downloaded.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.generation import Prompts
from benchmarks.gpu_training import BareStep, Step, lack
from benchmarks.report import write_record
from benchmarks.scene import Scene
from benchmarks.subjects import COMPILED
from fila_lab.config import FilaError, RunConfig, parse_set, resolve_run
from fila_lab.config.runtime_checks import check_compiler
from fila_lab.cost import build_subject
from fila_lab.modeling.precision import autocast

Call = Callable[[], object]
BARE = "bare"
ARMS = ("concat", "cross_attention")
"""Those that look at what both bare towers do."""
UNLOADED = {"vit.weights": "random", "convnext.weights": "random"}
"""Over a preset: costs do not depend on what weights say. The language model's name stays, for it says which of its weights are tied;
`build_subject` loads none."""
WARM_UP = 2
"""Rounds before those that count: kernels are chosen, memory is reserved, towers are compiled."""


@dataclass(frozen=True)
class Row:
    """One call of a section: median milliseconds, their range, median over `bare` of the same round, and the most memory that the device
    held beyond what lay there before the call (weights, gradients, moments), GiB (NaN on a CPU, which keeps no count). Of an arm's training
    step also all that it holds, that peak included, and the same in closed form."""

    section: str
    name: str
    milliseconds: float
    least: float
    most: float
    ratio: float
    peak_gib: float
    step_gib: float | None = None
    closed_gib: float | None = None


@dataclass(frozen=True)
class Setting:
    """What all sections are measured by. compiled: the encoder's arms once more, their towers compiled."""

    config: RunConfig
    precision: str
    rounds: int
    images: int
    device: str
    compiled: bool = False

    def of(self, arm: str) -> RunConfig:
        """The run of an arm."""
        runtime = self.config.runtime.model_copy(update={"precision": self.precision})
        fusion = self.config.fusion.model_copy(update={"name": arm})
        return self.config.model_copy(update={"fusion": fusion, "runtime": runtime})


def main(
    out: Annotated[Path, typer.Option(help="folder for gpu.json")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="whose sizes to measure at; weights are random")] = "base",
    precision: Annotated[str, typer.Option(help="bf16, fp16 or fp32")] = "bf16",
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds that count")] = 10,
    images: Annotated[int, typer.Option(min=1, help="images a batch")] = 8,
    compiled: Annotated[bool, typer.Option(help="measure the encoder's arms compiled too")] = True,
    only: Annotated[list[str] | None, typer.Option(help="a section to measure, by name; repeatable")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a field of the preset; repeatable")] = None,
) -> None:
    """Measure; nothing else should run on the device."""
    console = Console()
    if not torch.cuda.is_available():
        console.print("no CUDA device here, so there is nothing to measure: torch.cuda.is_available() is False; `make bench` measures CPUs")
        raise typer.Exit(2)
    card, capability = torch.cuda.get_device_name(), ".".join(map(str, torch.cuda.get_device_capability()))
    try:
        if unknown := set(only or []) - SECTIONS.keys():
            raise FilaError(f"--only {min(unknown)!r} is no section; choose {', '.join(SECTIONS)}")
        config = resolve_run(preset, UNLOADED, {"runtime.accelerator": "gpu"}, parse_set(sets or []))
        check_compiler(config.runtime.model_copy(update={"compile": compiled}))
    except FilaError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    rows, left_out = measure(Setting(config, precision, rounds, images, "cuda", compiled), only or [])
    for line in left_out:
        console.print(f"left out: {line}", style="red", markup=False)
    table = Table(title=f"{card}, {', '.join((preset, *(sets or [])))}, {precision}, {images} images")
    for header in ("", "", "ms", "range", "time / bare", "GiB at its peak, over what lay there", "all it holds, GiB", "in closed form"):
        table.add_column(header, justify="right" if header else "left")
    for row in rows:
        spread = f"{row.least:.1f} to {row.most:.1f}"
        held = ("" if value is None else f"{value:.2f}" for value in (row.peak_gib, row.step_gib, row.closed_gib))
        table.add_row(row.section, row.name, f"{row.milliseconds:.1f}", spread, f"{row.ratio:.2f}", *held)
    console.print(table)
    settings = {"preset": preset, "set": sets or [], "precision": precision, "rounds": rounds, "images": images, "card": card}
    settings |= {"capability": capability, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "left_out": left_out}
    console.print(f"written: {write_record(out, 'gpu', settings, rows=[asdict(row) for row in rows])}", highlight=False, markup=False)
    if not rows:
        raise typer.Exit(2)


def measure(setting: Setting, sections: Sequence[str] = ()) -> tuple[list[Row], list[str]]:
    """Rows of the sections (default: all), one after the other, so that each has the device's memory for itself; and of each that was left
    out for its memory a line."""
    rows: list[Row] = []
    left_out: list[str] = []
    for section in sections or SECTIONS:
        try:
            rows += SECTIONS[section](setting)
        except (torch.OutOfMemoryError, FilaError) as error:
            left_out.append(f"{section}: {' '.join(str(error).split())}")
        gc.collect()
        if setting.device == "cuda":
            torch.cuda.empty_cache()
    return rows, left_out


def encoder_rows(setting: Setting) -> list[Row]:
    """Bare: open_clip's ViT on tiles and overviews, and timm's ConvNeXt on the canvases; arms: from bytes to visual tokens."""
    made, device = Scene.build(setting.config, setting.images), setting.device
    scene = Scene(setting.config, made.vit.to(device), made.convnext.to(device), made.batch.to(device), made.canvas)
    scene.prepare()
    arms = {arm: scene.encoder(arm).to(device) for arm in ARMS}
    if setting.compiled:
        arms |= {arm + COMPILED: scene.compiled.encoder(arm).to(device) for arm in ARMS}

    def bare() -> object:
        return scene.bare_vit(), scene.bare_convnext()

    without_gradients = {BARE: bare} | {arm: lambda encoder=encoder: scene.encode(encoder) for arm, encoder in arms.items()}
    return _rows("encoder", {name: torch.inference_mode()(call) for name, call in without_gradients.items()}, setting)


def training_rows(setting: Setting) -> list[Row]:
    """A step: forward with frozen towers, backward through what trains, clip, AdamW. Bare: the libraries' towers, PyTorch's projector,
    transformers' own loss over as many tokens.

    Raises:
        FilaError: they do not fit beside each other.
    """
    configs, images, device = {arm: setting.of(arm) for arm in ARMS}, setting.images, setting.device
    if device == "cuda" and (why := lack([configs[ARMS[0]], *configs.values()], images, torch.cuda.mem_get_info()[0])):
        raise FilaError(why)
    steps: dict[str, Step] = {BARE: BareStep(configs[ARMS[0]], images, device)}
    steps |= {arm: Step(config, images, device) for arm, config in configs.items()}
    rows = _rows("training step", {name: one.step for name, one in steps.items()}, setting)
    return [
        row
        if row.name == BARE
        else replace(row, step_gib=row.peak_gib + steps[row.name].held_gib(), closed_gib=steps[row.name].closed_gib())
        for row in rows
    ]


def generation_rows(setting: Setting) -> list[Row]:
    """Greedy answers to questions of mixed length: ours, and transformers' `generate`."""
    torch.manual_seed(0)
    config = setting.of("none")
    prompts = Prompts.asked(
        build_subject(config, setting.device).eval(), config, setting.images, config.language.answer_tokens, ended=False
    )
    prompts.prepare()
    calls = {BARE: torch.inference_mode()(prompts.library), "ours": torch.inference_mode()(prompts.ours)}
    return _rows("generation", calls, setting)


SECTIONS: dict[str, Callable[[Setting], list[Row]]] = {
    "encoder": encoder_rows,
    "training step": training_rows,
    "generation": generation_rows,
}
"""Name in the table -> what measures it."""


def _rows(section: str, calls: Mapping[str, Call], setting: Setting) -> list[Row]:
    """Rounds in which each call is made once, in an order of the round's own."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    peaks = dict.fromkeys(calls, float("nan"))
    for turn in range(-WARM_UP, setting.rounds):
        for name in random.Random(turn).sample(list(calls), len(calls)):
            took, peak = _timed(calls[name], setting.precision, setting.device)
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
