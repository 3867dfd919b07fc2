"""`fila-lab pretrain`: teach mini's ViT or ConvNeXt to see glyphs, and write its weights with a card.

Both towers learn from the same dense pages (training fonts and photos only) with labels per cell. The ViT sees tiles cut out
anywhere, so truncated glyphs, and reduced overviews; the ConvNeXt sees pages at k = 2, 3 and 4. A share of each is blurred.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config import FilaError, RunConfig, load_preset
from fila_lab.config.files import becoming, write_atomically
from fila_lab.config.hashing import file_sha256
from fila_lab.config.seam_words import ALPHABET, COLOUR_NAMES
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.pixels import normalise
from fila_lab.modeling.precision import autocast
from fila_lab.modeling.seeds import component_rng, component_seed
from fila_lab.modeling.vit import VitTower
from fila_lab.modeling.weights import load_weights, save_weights, weights_sha256
from fila_lab.pretraining.checkpoint import Checkpoint
from fila_lab.pretraining.dense_labels import MapHead, TokenHead, dense_loss, dense_scores, label_grids
from fila_lab.pretraining.device import chosen_device, made_on, products
from fila_lab.pretraining.halves import STORED, round_as_stored
from fila_lab.pretraining.pages import CLASSES, PageTensors, dense_pages
from fila_lab.pretraining.thirds import left_out

BLURRED = 0.15
OVERVIEWS = 0.15
LATER_RATE = 2 / 3
"""Share of the learning rate for weights that go on from an earlier pretraining."""
N_CLASSES = len(CLASSES)
CHANNELS = N_CLASSES + 1 + len(COLOUR_NAMES) + 1
VALIDATION_BATCHES = 12
CROP = 128
"""Side of a ConvNeXt training crop, detail pixels."""


@dataclass(frozen=True)
class Recipe:
    """How a tower is pretrained."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    pages: int = 6000
    validation_pages: int = 300


RECIPES = {
    "vit": Recipe(steps=9000, batch_size=256, learning_rate=3e-3),
    "convnext": Recipe(steps=2400, batch_size=64, learning_rate=4e-3),
}


def file_stem(preset: str, part: str, third: int | None) -> str:
    """Name of a pretrained file without its ending; a preset's path stands for its name."""
    return f"{Path(preset).stem}_{part}{'' if third is None else f'_{third}'}"


def blur(pixels: Tensor, factor: float) -> Tensor:
    """Reduce by `factor` and enlarge again; pixels [B, 3, H, W] float."""
    small = F.interpolate(pixels, scale_factor=1 / factor, mode="bilinear", antialias=True)
    return F.interpolate(small, size=pixels.shape[-2:], mode="bilinear")


def _some_blurred(pixels: Tensor, factor: float, generator: torch.Generator) -> Tensor:
    mask = (torch.rand(len(pixels), generator=generator) < BLURRED).to(pixels.device)
    if mask.any():
        pixels[mask] = blur(pixels[mask], factor)
    return pixels


def _crop(pages: Tensor, rows: Tensor, origin: Tensor, size: int) -> Tensor:
    """pages [P, H, W, 3], rows of B of them, origin [B, 2] (x, y) -> [B, size, size, 3]."""
    x, y = (origin[:, axis, None] + torch.arange(size, device=origin.device) for axis in (0, 1))
    return pages[rows[:, None, None], y[:, :, None], x[:, None, :]]


class VitTask(nn.Module):
    """The ViT on single tiles; labels on quarter-token cells."""

    def __init__(self, config: RunConfig, pages: PageTensors) -> None:
        super().__init__()
        self.tower = VitTower(config.vit, config.geometry)
        self.head = TokenHead(config.vit.width, CHANNELS)
        self.tile, self.patch = config.geometry.tile, config.geometry.patch
        self.pages = pages

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pixels [B, 3, T, T] and the two label grids, where the pages lie; a whole page reduced, or a tile cut out of it."""
        canvas, overviews = self.pages.canvas, int(size * OVERVIEWS)
        side = canvas.shape[1]
        index = torch.randint(len(canvas), (size,), generator=generator).to(canvas.device)
        origin = torch.randint(side - self.tile + 1, (size, 2), generator=generator).to(canvas.device)
        records = self.pages.records[index]
        whole = F.interpolate(normalise(canvas[index[:overviews]]), size=(self.tile, self.tile), mode="area")
        tiles = normalise(_crop(canvas, index[overviews:], origin[overviews:], self.tile))
        pixels = torch.cat([whole, _some_blurred(tiles, 1.5, generator)])
        nought = torch.zeros(overviews, 2, device=canvas.device)
        reduced = label_grids(records[:overviews], self.tile / side, nought, self.tile, self.patch / 2)
        cropped = label_grids(records[overviews:], 1.0, origin[overviews:].float(), self.tile, self.patch / 2)
        return pixels, torch.cat([reduced[0], cropped[0]]), torch.cat([reduced[1], cropped[1]])

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.tower(pixels))


class ConvNextTask(nn.Module):
    """The ConvNeXt on crops of pages at several detail resolutions; labels on the stage-3 grid."""

    def __init__(self, config: RunConfig, pages: PageTensors) -> None:
        super().__init__()
        self.tower = ConvNextTower(config.convnext).to(memory_format=torch.channels_last)
        self.head = MapHead(config.convnext.dims, CHANNELS)
        self.pages = pages

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pixels [B, 3, 128, 128] of one detail resolution and the two label grids."""
        cells = self.pages.draw_resolution(float(torch.rand(1, generator=generator)))
        detail, records = self.pages.detail[cells]
        index = torch.randint(len(detail), (size,), generator=generator).to(detail.device)
        scale = detail.shape[1] / self.pages.canvas.shape[1]
        origin = torch.randint(detail.shape[1] - CROP + 1, (size, 2), generator=generator).to(detail.device)
        pixels = _some_blurred(normalise(_crop(detail, index, origin, CROP)), scale, generator)
        classes, colours = label_grids(records[index], scale, origin.float(), CROP, 16)
        return pixels, classes, colours

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.tower(pixels.contiguous(memory_format=torch.channels_last)))


TASKS: dict[str, type[VitTask] | type[ConvNextTask]] = {"vit": VitTask, "convnext": ConvNextTask}


def pretrain(
    tower: str,
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 1,
    workers: int = 1,
    preset: str = "mini",
    start: str = "random",
    third: int | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Pretrain `vit` or `convnext` of a preset; writes OUT/<preset>_<tower>.safetensors and its .json card; returns the scores.

    `start` is where the weights come from: `random`, or a file of an earlier pretraining to go on from. `third`: of a tower pair, the third
    of the training fonts and photos that is left out, and scored on; files are then OUT/<preset>_<tower>_<third>. `device`: as
    `chosen_device` takes it. Stopped, it goes on from its last checkpoint (OUT/<preset>_<tower>.part) with the same call.

    Raises:
        FilaError: unknown tower, or an output folder that cannot be written.
    """
    if tower not in TASKS:
        raise FilaError(f"tower={tower!r} is unknown; choose vit or convnext")
    out.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[tower]
    if start != "random":
        recipe = replace(recipe, learning_rate=recipe.learning_rate * LATER_RATE)
    steps, place = steps or recipe.steps, chosen_device(device)
    config = load_preset(preset)
    torch.set_num_threads(threads)
    started = time.perf_counter()
    pages = dense_pages(config, "train", recipe.pages, seed, workers, progress, third)
    held_out = dense_pages(config, "val", recipe.validation_pages, seed, workers, progress, third)
    with component_rng(seed, f"pretrain_{tower}"):
        task = TASKS[tower](config, PageTensors.of(pages, place))
    load_weights(task.tower, start, "start")
    task.to(place)
    generator = torch.Generator().manual_seed(component_seed(seed, f"pretrain_{tower}_data"))
    optimiser = torch.optim.AdamW(task.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.15)
    running, first = 0.0, 0
    path = out / f"{file_stem(preset, tower, third)}.safetensors"
    told = {"config": config.model_dump_json(), "recipe": asdict(recipe), "steps": steps, "seed": seed, "third": third}
    checkpoint = Checkpoint(path, told | {"start": weights_sha256(start), "torch": torch.__version__, **made_on(place)})
    if (stands := checkpoint.read()) is not None:
        task.load_state_dict(stands["task"])
        optimiser.load_state_dict(stands["optimiser"])
        schedule.load_state_dict(stands["schedule"])
        generator.set_state(stands["generator"])
        running, first = stands["running"], stands["step"]
    for step in range(first, steps):
        pixels, classes, colours = task.batch(recipe.batch_size, generator)
        with autocast(products(place), place.type), attention_backend("auto", config.geometry.grid**2 + 1, place.type):
            logits = task(pixels)
        loss = dense_loss(logits, classes, colours, N_CLASSES)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running += loss.item()
        if (step + 1) % 200 == 0:
            print(f"{tower} step {step + 1}/{steps} loss {running / 200:.3f} {time.perf_counter() - started:.0f} s", flush=True)
            running = 0.0
        if checkpoint.due(step + 1, steps):
            checkpoint.write(
                step=step + 1,
                running=running,
                task=task.state_dict(),
                optimiser=optimiser.state_dict(),
                schedule=schedule.state_dict(),
                generator=generator.get_state(),
            )
        if progress:
            progress(f"pretrain {tower}", step + 1, steps)
    task.pages = PageTensors.of(held_out, place)
    round_as_stored(task.tower)
    scores = evaluate(task, seed)
    with becoming(path) as temporary:
        save_weights(task.tower, temporary, STORED)
    card = {
        "tower": tower,
        "parameters": sum(p.numel() for p in task.tower.parameters()),
        "command": f"fila-lab pretrain {tower} --preset {preset} --steps {steps} --seed {seed} --start {Path(start).name}"
        f"{'' if third is None else f' --split {third}'}",
        "recipe": {**asdict(recipe), "steps": steps, "blurred": BLURRED, "labels": "class and colour per cell, background weight 0.1"},
        "data": "generated pages of random strings, layout panels and what the preset's tasks show; "
        "training fonts (matplotlib) and photos (scikit-image, scikit-learn)",
        "alphabet": ALPHABET,
        "seed": seed,
        "score": {name: round(value, 4) for name, value in scores.items()},
        "score_on": "pages of the validation split" if third is None else "pages of the fonts and photos that were left out",
        **left_out(third),
        **made_on(place),
        "seconds": round(time.perf_counter() - started),
        "torch": torch.__version__,
        "sha256": file_sha256(path),
    }
    write_atomically(path.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    checkpoint.remove()
    return scores


@torch.inference_mode()
def evaluate(task: VitTask | ConvNextTask, seed: int) -> dict[str, float]:
    """Glyph recall, colour recall and false-alarm rate on held-out pages (fonts and photos of the validation split)."""
    task.eval()
    place = next(task.parameters()).device
    generator = torch.Generator().manual_seed(component_seed(seed, "pretrain_validation"))
    totals: dict[str, float] = {}
    for _ in range(VALIDATION_BATCHES):
        pixels, classes, colours = task.batch(128, generator)
        with autocast(products(place), place.type):
            logits = task(pixels)
        for name, value in dense_scores(logits, classes, colours, N_CLASSES).items():
            totals[name] = totals.get(name, 0.0) + value
    return {
        "glyph_recall": totals["class_right"] / totals["glyphs"],
        "colour_recall": totals["colour_right"] / totals["glyphs"],
        "false_alarm_rate": totals["false_alarms"] / totals["background"],
    }
