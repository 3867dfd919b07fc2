"""`make bench`: measure everything in one run, print ratios, write benchmarks.json and benchmarks.md."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import lines as measured
from benchmarks.arrangements import ARRANGEMENTS
from benchmarks.memory import SUBJECTS, peak_gib
from benchmarks.profiling import call_operators, fusion_operators
from benchmarks.report import Results, show, write
from benchmarks.scene import Scene, benchmark_config
from benchmarks.subjects import ARMS, BARE, COMPILED, QUICK, RIVALS, subject, towers_of
from benchmarks.timing import Tick, count, matmul_peak, run_rounds
from benchmarks.training import one_thread, training_config, training_speeds
from fila_lab.config import ConfigError, FilaError, RuntimeConfig, did_you_mean
from fila_lab.config.runtime_checks import check_compiler

console = Console()


class Precision(StrEnum):
    """What to measure in."""

    fp32 = "fp32"
    bf16 = "bf16"
    both = "both"


def main(
    out: Annotated[Path, typer.Option(help="folder for benchmarks.json and benchmarks.md")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="whose sizes to measure at; weights are random")] = "paper",
    precision: Annotated[Precision, typer.Option(help="fp32, bf16, or both")] = Precision.both,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds that count; one more warms up")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="threads of a call")] = os.cpu_count() or 1,
    quick: Annotated[bool, typer.Option(help="one round, three arms, not compiled, no other arrangements, no memory")] = False,
    only: Annotated[list[str] | None, typer.Option(help="an arm or arrangement to measure; repeat for more")] = None,
    compiled: Annotated[
        bool, typer.Option(help="each arm once more with towers compiled by region (minutes before the first round)")
    ] = True,
    memory: Annotated[bool, typer.Option(help="peak memory in fresh processes")] = True,
    profile: Annotated[bool, typer.Option(help="print the operators of each arm that misses a line")] = False,
    training: Annotated[bool, typer.Option(help="training speed of the arms instead, maps given (use with --preset mini)")] = False,
    attention: Annotated[str, typer.Option(help="attention backend when training: math, flash or auto")] = "math",
    batch_size: Annotated[int, typer.Option(min=1, help="images a batch when training")] = 64,
) -> None:
    """Measure; nothing else should run beside it."""
    torch.set_num_threads(threads)
    compiled = compiled and not quick and _can_compile()
    try:
        kinds = ("fp32", "bf16") if precision is Precision.both else (precision.value,)
        if training:
            kind = "bf16" if precision is Precision.both else precision.value
            results = measure_training(preset, kind, rounds, attention, batch_size, compiled)
        else:
            names = chosen(only or (list(QUICK) if quick else [*ARMS, *RIVALS, *ARRANGEMENTS]))
            names = [each for name in names for each in ((name, name + COMPILED) if compiled and name in ARMS else (name,))]
            results = measure(preset, kinds, names, 1 if quick else rounds, memory and not quick, profile, threads)
    except FilaError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        console.print("\nstopped; nothing is written: the same command measures again", markup=False)
        raise typer.Exit(130) from None
    show(results, console)
    console.print("\nwritten: " + ", ".join(str(path) for path in write(results, out)), highlight=False, markup=False)


def _can_compile() -> bool:
    try:
        check_compiler(RuntimeConfig(compile=True))
    except ConfigError as error:
        console.print(f"compiled towers are left out: {error}", highlight=False, markup=False)
        return False
    return True


def chosen(names: list[str]) -> list[str]:
    """The names, if all are known; FilaError else."""
    known = [*ARMS, *RIVALS, *ARRANGEMENTS]
    for name in names:
        if name not in known:
            raise FilaError(f"--only {name!r} is neither an arm nor an arrangement{did_you_mean(name, known)}; choose {', '.join(known)}")
    return names


def measure(preset: str, kinds: tuple[str, ...], names: list[str], rounds: int, memory: bool, profile: bool, threads: int) -> Results:
    """Time, FLOPs and memory of the bare calls and what is named, in each precision."""
    scene = Scene.build(benchmark_config(preset))
    subjects = [subject(scene, name) for name in (*BARE, *names)]
    flops = {one.name: count(one) for one in subjects if not one.name.endswith(COMPILED)}  # compiled code does the same work
    flops |= {one.name: flops[one.name.removesuffix(COMPILED)] for one in subjects}
    for one in subjects:
        one.watched()
    width, height = scene.canvas
    settings = {"preset": preset, "images": 1, "canvas": f"{width}x{height}", "rounds": rounds, "threads": threads}
    results = Results(settings)
    for kind in kinds:
        tokens = len(scene.pixels) * (scene.config.geometry.grid**2 + 1)
        with _progress() as progress:
            rounded = run_rounds(subjects, kind, rounds, _tick(progress, kind, (rounds + 1) * len(subjects)))
        peak = matmul_peak(scene.config, tokens, kind)
        results.rows[kind], results.peak_tflops[kind] = measured.rows(rounded, flops, peak), peak / 1e12
        for row in results.rows[kind]:
            results.lines += row.lines(kind)
        if profile:
            for arm in dict.fromkeys(line.arm for line in results.lines if line.precision == kind and not line.met):
                _profile(scene, arm, kind, results)
    del subjects, scene  # fresh processes need the memory
    if memory:
        for kind in kinds:
            bare = {"bare"} | {tower for name in names if name in RIVALS for tower in towers_of(name)}
            results.memory[kind] = _memory([name for name in SUBJECTS if name in bare or name in names], preset, kind, threads)
            results.lines += measured.memory_lines(results.memory[kind], kind)
    return results


def _memory(names: list[str], preset: str, kind: str, threads: int) -> dict[str, float]:
    with _progress() as progress:
        tick = _tick(progress, f"{kind}, memory", len(names))
        peaks = {}
        for name in names:
            tick(name)
            peaks[name] = peak_gib(name, preset, kind, threads)
    return peaks


def _profile(scene: Scene, arm: str, kind: str, results: Results) -> None:
    if arm == "none":
        results.operators[f"none, {kind}"] = call_operators(subject(scene, arm), kind)
    else:
        results.operators[f"fusion of {arm}, {kind}"] = fusion_operators(scene, arm, kind)


def measure_training(preset: str, precision: str, rounds: int, attention: str, batch_size: int, compiled: bool) -> Results:
    """Images a second of training steps, each arm, and `compiled` each once more, over `none`, on one thread."""
    configs = {
        arm + (COMPILED if way else ""): training_config(preset, arm, precision, attention, batch_size, compiled=way)
        for arm in ARMS
        for way in ((False, True) if compiled else (False,))
    }
    described = f"preset {preset}, batch {batch_size}, 1 thread, {precision}, attention {attention}, largest canvas"
    results = Results({"preset": preset, "images": batch_size, "canvas": "largest", "rounds": rounds, "training": described})
    with _progress() as progress:
        tick = _tick(progress, "training", (rounds + 1) * len(configs))
        results.training = one_thread(lambda: training_speeds(configs, rounds, tick))
    ratios = {arm: speed["ratio"] for arm, speed in results.training.items()}
    results.lines = measured.training_lines(ratios, precision)
    return results


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _tick(progress: Progress, title: str, total: int) -> Tick:
    """Called before each measurement: moves the bar on and names what runs. The bar draws no more than twice a second."""
    task = progress.add_task(title, total=total, completed=-1)

    def tick(name: str) -> None:
        progress.update(task, advance=1, description=f"{title}: {name}")

    return tick


if __name__ == "__main__":
    typer.run(main)
