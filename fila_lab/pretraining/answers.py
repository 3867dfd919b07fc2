"""`fila-lab pretrain answers`: teach mini's language model to look things up on a page, and its projector to speak to it.

A 7B language model knows how to find what a question names among the tokens it is given; a tiny one would spend every cell of
a study on learning that. So it learns it once, for all arms: first the language model on pages without pixels, whose visual
tokens tell the truth about their quarter cells, with errors; then the projector, frozen ViT before it, to give for each token
the embedding of its truth.
No detail branch takes part: every arm starts from here, and `none` has been trained the most.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config import FilaError, RunConfig, resolve_run
from fila_lab.config.files import becoming, write_atomically
from fila_lab.config.hashing import file_sha256
from fila_lab.config.tiling import TileLayout
from fila_lab.data.seam.symbolic import SymbolicPage
from fila_lab.data.seam.truth import TRUTH
from fila_lab.modeling import FilaModel, build_model, component_seed, normalise
from fila_lab.modeling.answers import Truth, load_answer_parts, load_truth, save_answer_parts, unexplained
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.precision import autocast
from fila_lab.modeling.projector import raster
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.weights import weights_sha256
from fila_lab.pretraining.checkpoint import Checkpoint
from fila_lab.pretraining.device import chosen_device, made_on, products
from fila_lab.pretraining.halves import STORED, round_as_stored
from fila_lab.pretraining.look_up import AnswerRecipe, page_truth, train_look_up
from fila_lab.pretraining.pages import DensePages, dense_pages
from fila_lab.pretraining.thirds import left_out
from fila_lab.pretraining.towers import file_stem

LATER_RATE = 2 / 3
"""Share of the learning rate for a language model that goes on from an earlier pretraining."""


def pretrain_answers(
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 1,
    workers: int = 1,
    preset: str = "mini",
    start: str = "random",
    learning_rate: float | None = None,
    recipe: AnswerRecipe | None = None,
    third: int | None = None,
    vit: str | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Pretrain language model and projector of a preset; writes OUT/<preset>_answers.safetensors and its card; returns the scores.

    `vit`: weights of the ViT behind which the projector stands; None: the preset's. `third`: of a tower pair, as `pretrain` takes it, for
    the pages that the projector learns on; files are then OUT/<preset>_answers_<third>. `steps` 0: the language model stays as it is in
    `start`, and only the projector is trained, as for a further tower pair. `device`: as `chosen_device` takes it. `start`: `random`, or a
    file of an earlier pretraining whose language model goes on, without easy pages and, where no `learning_rate` is given, at 2/3 of the
    recipe's. Stopped, it goes on from the last checkpoint of its language model (OUT/<preset>_answers.part) with the same call.
    FilaError where that file cannot be read, fits another model, or does not hold the truth's embedding.
    """
    recipe = recipe or AnswerRecipe()
    if start != "random":
        recipe = replace(recipe, learning_rate=recipe.learning_rate * LATER_RATE, easy_share=0.0)
    if learning_rate is not None:
        recipe = replace(recipe, learning_rate=learning_rate)
    steps, place = recipe.steps if steps is None else steps, chosen_device(device)
    if not steps and start == "random":
        raise FilaError("steps=0 leaves the language model as it starts, which is random; name a file to start from")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    started = time.perf_counter()
    alone = {} if vit is None else {"tower_pairs": [], "vit.weights": vit}
    config = resolve_run(preset, {"fusion.name": "none", "language.weights": "random", "seed": seed}, alone)
    model = build_model(config)
    with component_rng(seed, "truth"):
        truth = Truth(4 * TRUTH, config.language.width)
    if start != "random":
        load_answer_parts(model.answer_parts, config.language, start)
        load_truth(truth, start)
    model.to(place)
    truth.to(place)
    path = out / f"{file_stem(preset, 'answers', third)}.safetensors"
    told = {"config": config.model_dump_json(), "recipe": asdict(recipe), "steps": steps, "seed": seed, "third": third}
    checkpoint = Checkpoint(path, told | {"start": weights_sha256(start), "torch": torch.__version__, **made_on(place)})
    scores = train_look_up(model, truth, config, recipe, steps, seed, workers, progress, checkpoint)
    scores["projector_error"] = _train_projector(model, truth, config, recipe, seed, workers, progress, third)
    with becoming(path) as temporary:
        save_answer_parts(model.answer_parts, config.language, temporary, {"truth": truth}, STORED)
    card = {
        "parts": "language model, row separator, projector",
        "parameters": sum(p.numel() for part in (model.language, model.separator, model.projector) for p in part.parameters()),
        "command": f"fila-lab pretrain answers --preset {preset} --steps {steps} --seed {seed} --start {Path(start).name}"
        f"{f' --learning-rate {learning_rate:g}' if learning_rate is not None else ''}"
        f"{f' --solved {recipe.solved:g}' if recipe.solved != AnswerRecipe.solved else ''}"
        f"{' --compile' if recipe.compiled else ''}{'' if third is None else f' --split {third}'}"
        f"{'' if vit is None else f' --vit {Path(vit).name}'}",
        "recipe": {**asdict(recipe), "steps": steps},
        "data": "symbolic pages with random strings; then dense pages (training fonts and photos) through the frozen ViT",
        "vit": weights_sha256(config.vit.weights),
        "score": {name: round(value, 4) for name, value in scores.items()},
        "score_on": "look_up: exact answers on unseen symbolic pages, with errors; projector_error: unexplained share of the embedding",
        **left_out(third),
        **made_on(place),
        "seed": seed,
        "seconds": round(time.perf_counter() - started),
        "torch": torch.__version__,
        "sha256": file_sha256(path),
    }
    write_atomically(path.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    checkpoint.remove()
    return scores


def _train_projector(
    model: FilaModel,
    truth: Truth,
    config: RunConfig,
    recipe: AnswerRecipe,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None] | None,
    third: int | None,
) -> float:
    """Regress the truth's embedding from the frozen ViT's tokens; returns the unexplained share of its variance on held-out pages."""
    pages = {
        split: dense_pages(config, split, count, seed, workers, third=third)
        for split, count in (("train", recipe.dense_pages), ("val", recipe.held_out_pages))
    }
    seen = {split: _tokens_and_truth(model, truth, config, part) for split, part in pages.items()}
    parameters = list(model.projector.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=recipe.projector_learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.projector_learning_rate, total_steps=recipe.projector_steps)
    generator = torch.Generator().manual_seed(component_seed(seed, "projector_pages"))
    tokens, wanted = seen["train"]
    for step in range(recipe.projector_steps):
        index = torch.randint(len(tokens), (4096,), generator=generator)
        index = index.to(tokens.device)
        loss = F.mse_loss(model.projector(tokens[index]), wanted[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress("pretrain projector", step + 1, recipe.projector_steps)
    round_as_stored(model.projector)
    tokens, wanted = seen["val"]
    with torch.inference_mode():
        return float(unexplained(model.projector(tokens), wanted))


@torch.inference_mode()
def _tokens_and_truth(model: FilaModel, truth: Truth, config: RunConfig, pages: DensePages) -> tuple[Tensor, Tensor]:
    """All tokens of the pages' tiles and overviews [M, D_vit] and the embedding of their truth [M, D_llm]."""
    geometry, vit = config.geometry, model.encoder.vit
    assert vit is not None  # whose tokens are projected
    tile, side, place = geometry.tile, pages.canvas.shape[1], next(model.parameters()).device
    across = side // tile
    tokens, wanted = [], []
    for start in range(0, len(pages.canvas), 100):
        canvas = torch.from_numpy(pages.canvas[start : start + 100])
        count = len(canvas)
        tiles = canvas.view(count, across, tile, across, tile, 3).transpose(2, 3).reshape(count, across * across, tile, tile, 3)
        overview = F.interpolate(canvas.permute(0, 3, 1, 2).float(), size=(tile, tile), mode="area").permute(0, 2, 3, 1)
        images = torch.cat([overview.round().to(torch.uint8)[:, None], tiles], dim=1).flatten(0, 1)
        with autocast(products(place), place.type), attention_backend(config.runtime.attention, device=place.type):
            features = vit(normalise(images.to(place))).float()
        tokens.append(raster(features.unflatten(0, (count, -1)), TileLayout.side_by_side(geometry.grid, across, across)).flatten(0, 1))
        found = [_symbolic(record, side) for record in pages.records[start : start + 100]]
        exact = AnswerRecipe(swapped=0.0, dropped=0.0)
        wanted.append(truth(page_truth(found, config, exact, np.random.default_rng(0)).to(place)).flatten(0, 1))
    return torch.cat(tokens).clone(), torch.cat(wanted).clone()


def _symbolic(record: np.ndarray, side: int) -> SymbolicPage:
    glyphs = record[record[:, 0] >= 0]
    return SymbolicPage((side, side), glyphs[:, :4], ())
