"""An image for `paper` on one core: ours over transformers' LLaVA-NeXT image processor on the same image.

`python -m benchmarks.preparation`: processor time, medians over rounds of ratios within a round; writes preparation.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from transformers import LlavaNextImageProcessor

from benchmarks.lines import Line
from benchmarks.report import write_record
from fila_lab.config import resolve_run
from fila_lab.config.geometry import GeometryConfig
from fila_lab.imaging import prepare

LIBRARY, TILES, ALL = "transformers", "tiles and overview", "with the detail input"
AT_MOST = {TILES: 0.7, ALL: 1.3}
"""Of transformers' processor time."""


def picture(width: int, height: int) -> Image.Image:
    """Smooth noise."""
    small = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def processor(config: GeometryConfig) -> LlavaNextImageProcessor:
    """LLaVA-NeXT's on the preset's canvases (torchvision backend)."""
    places = [[tall, wide] for wide, tall in config.canvases]
    side = {"height": config.tile, "width": config.tile}
    return LlavaNextImageProcessor(image_grid_pinpoints=places, size={"shortest_edge": config.tile}, crop_size=side)


def preparation_ratios(config: GeometryConfig, image: Image.Image, rounds: int) -> dict[str, float]:
    """Processor time over transformers', by what is prepared."""
    theirs = processor(config)
    subjects: dict[str, Callable[[], object]] = {
        LIBRARY: lambda: theirs(image, return_tensors="pt"),
        TILES: lambda: prepare(image, config, detail=False),
        ALL: lambda: prepare(image, config),
    }
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        for name, call in subjects.items():
            began = time.process_time()
            call()
            if turn:  # the first warms up
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(a / b for a, b in zip(seconds[name], seconds[LIBRARY], strict=True)) for name in AT_MOST}


def main(
    out: Annotated[Path, typer.Option(help="folder for preparation.json")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="whose geometry")] = "paper",
    width: Annotated[int, typer.Option(min=8, help="of the image, px")] = 1600,
    height: Annotated[int, typer.Option(min=8, help="of the image, px")] = 1200,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds that count; one more warms up")] = 15,
) -> None:
    """Measure on one thread."""
    console = Console()
    torch.set_num_threads(1)
    config = resolve_run(preset).geometry
    table = Table("operator", *(f"{name}, over transformers'" for name in AT_MOST))
    found: list[dict[str, object]] = []
    for operator in dict.fromkeys((config.resample, "bicubic")):
        ratios = preparation_ratios(config.model_copy(update={"resample": operator}), picture(width, height), rounds)
        table.add_row(operator, *(f"{ratios[name]:.2f}" for name in AT_MOST))
        lines = [Line(operator, "uint8", f"time over transformers', {name}", ratios[name], limit) for name, limit in AT_MOST.items()]
        found.append({"operator": operator, "ratios": ratios, "lines": [line.record() for line in lines]})
        if operator == config.resample:  # the other is shown beside it
            for line in lines:
                console.print(f"[{'green' if line.met else 'red'}]{line.arm}[/]: {line}", highlight=False)
    console.print(table)
    settings = {"preset": preset, "image": [width, height], "rounds": rounds}
    path = write_record(out, "preparation", settings, preparation=found)
    console.print(f"written: {path}", highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(main)
