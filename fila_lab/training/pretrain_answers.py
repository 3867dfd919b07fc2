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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config import FilaError, RunConfig, resolve_run
from fila_lab.data.content import ALPHABET, COLOURS, LAYOUTS
from fila_lab.data.pretrain_pages import DensePages, dense_pages
from fila_lab.data.symbolic import SymbolicPage, quarter_cells, recoloured, symbolic_pages
from fila_lab.data.truth import CLASSES
from fila_lab.modeling import FilaModel, build_model, component_seed, normalise
from fila_lab.modeling.answers import load_answer_parts, save_answer_parts
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.projector import raster
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.weights import file_sha256, weights_sha256

TRUTH = len(CLASSES) + len(COLOURS)
"""Numbers that tell the truth about one quarter cell: glyph and colour, one-hot."""
IGNORED = -100
REPORT = 200
"""Steps between two lines of the log."""
LATER_RATE = 2 / 3
"""Share of the learning rate for a language model that goes on from an earlier pretraining."""
SOLVED = 0.1
"""How often a family that is answered throughout is still drawn, where one that is never answered is drawn 1.1 times."""


@dataclass(frozen=True)
class AnswerRecipe:
    """How the answer model is pretrained. `swapped` and `dropped`: shares of characters that the visual tokens get wrong, or
    miss; `compiled`: torch.compile for the language model, twice as fast on a CPU with a C++ compiler, other in the last bits."""

    steps: int = 9000
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    pages: int = 60000
    unseen: int = 4000
    easy_share: float = 0.1
    text_height: tuple[float, float] = (10.0, 14.0)
    code_length: tuple[float, float, float, float] = (0.5, 0.4, 0.06, 0.04)
    by_key: float = 0.2
    swapped: float = 0.02
    dropped: float = 0.02
    compiled: bool = False
    projector_steps: int = 1500
    projector_learning_rate: float = 2e-3
    dense_pages: int = 2000
    held_out_pages: int = 200


class Truth(nn.Module):
    """Embeds the truth about tokens: [B, T, 4 * TRUTH] -> [B, T, D_llm]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4 * TRUTH, width)

    def forward(self, truth: Tensor) -> Tensor:
        return self.embed(truth)


def token_truth(grid: Tensor) -> Tensor:
    """Quarter cells [B, 2h, 2w, TRUTH] -> tokens in raster order, [B, h*w, 4 * TRUTH]."""
    b, h, w, c = grid.shape
    return grid.view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h * w // 4, 4 * c)


def page_truth(pages: list[SymbolicPage], config: RunConfig, recipe: AnswerRecipe, generator: np.random.Generator) -> Tensor:
    """Truth tokens of pages of one canvas, overview first: [B, g*g + T, 4 * TRUTH]. The overview knows colours and panels."""
    geometry = config.geometry
    width, height = pages[0].canvas
    cell = geometry.patch / 2
    shape = (round(height / cell), round(width / cell))
    small = 2 * geometry.grid
    canvas = torch.zeros(len(pages), *shape, TRUTH)
    overview = torch.zeros(len(pages), small, small, TRUTH)
    glyphs = np.concatenate([page.glyphs for page in pages])
    at = np.repeat(np.arange(len(pages)), [len(page.glyphs) for page in pages])
    classes, colours = glyphs[:, 0].astype(int), glyphs[:, 1].astype(int) + len(CLASSES)
    characters = classes < len(ALPHABET)
    chance = generator.random(len(classes))
    told = np.where(characters & (chance < recipe.swapped), generator.integers(len(ALPHABET), size=len(classes)), classes)
    kept = chance < 1 - recipe.dropped
    row, column = quarter_cells(glyphs[:, 2:], (1, 1), shape, cell)
    canvas[at[kept], row[kept], column[kept], told[kept]] = 1
    canvas[at, row, column, colours] = 1
    row, column = quarter_cells(glyphs[:, 2:], (geometry.tile / width, geometry.tile / height), (small, small), cell)
    overview[at, row, column, colours] = 1
    panels = ~characters & (classes < len(ALPHABET) + len(LAYOUTS))
    overview[at[panels], row[panels], column[panels], classes[panels]] = 1
    return torch.cat([token_truth(overview), token_truth(canvas)], dim=1)


def answer_loss(model: FilaModel, visual: Tensor, canvas: tuple[int, int], asked: list[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy per answer token, and whether each answer is right throughout [B].

    visual: tokens of B pages of one canvas (width, height), [B, T, D_llm]; asked: their (question, answer).
    """
    geometry = model.config.geometry
    visual = model.separator(visual, canvas[1] // geometry.tile, canvas[0] // geometry.tile, geometry.grid)
    end = [model.tokenizer.eos_token_id]
    prompts = model.tokenizer([question for question, _ in asked]).input_ids
    answers = [ids + end for ids in model.tokenizer([answer for _, answer in asked]).input_ids]
    ids = torch.zeros(len(asked), max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True)), dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[n, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[n, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    text = model.language.get_input_embeddings()(ids)
    with attention_backend(model.config.runtime.attention):
        hidden = model.language.model(inputs_embeds=torch.cat([visual.to(text.dtype), text], dim=1), use_cache=False).last_hidden_state
    wanted = labels != IGNORED
    logits = model.language.lm_head(hidden[:, visual.shape[1] - 1 : -1][wanted]).float()
    right = torch.ones_like(wanted)
    right[wanted] = logits.argmax(-1) == labels[wanted]
    return F.cross_entropy(logits, labels[wanted]), right.all(1)


def pretrain_answers(
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 1,
    workers: int = 1,
    preset: str = "mini",
    start: str = "random",
    recipe: AnswerRecipe | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Pretrain language model and projector of a preset; writes OUT/<preset>_answers.safetensors and its card; returns the scores.

    `start`: `random`, or a file of an earlier pretraining whose language model goes on, at 2/3 of the rate and without easy pages.
    FilaError where that file cannot be read, fits another model, or does not hold the truth's embedding.
    """
    recipe = recipe or AnswerRecipe()
    if start != "random":
        recipe = replace(recipe, learning_rate=recipe.learning_rate * LATER_RATE, easy_share=0.0)
    steps = steps or recipe.steps
    torch.set_num_threads(threads)
    started = time.perf_counter()
    config = resolve_run(preset, {"fusion.name": "none", "language.weights": "random", "seed": seed})
    model = build_model(config)
    with component_rng(seed, "truth"):
        truth = Truth(config.language.width)
    if start != "random":
        load_answer_parts(model, start)
        _load_truth(truth, start)
    scores = _train_language(model, truth, config, recipe, steps, seed, workers, progress)
    scores["projector_error"] = _train_projector(model, truth, config, recipe, seed, workers, progress)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{preset}_answers.safetensors"
    save_answer_parts(model, path, {"truth": truth})
    card = {
        "parts": "language model, row separator, projector",
        "parameters": sum(p.numel() for part in (model.language, model.separator, model.projector) for p in part.parameters()),
        "command": f"fila-lab pretrain answers --preset {preset} --steps {steps} --seed {seed} --start {Path(start).name}"
        f"{' --compile' if recipe.compiled else ''}",
        "recipe": {**asdict(recipe), "steps": steps},
        "data": "symbolic pages with random strings; then dense pages (training fonts and photos) through the frozen ViT",
        "vit": weights_sha256(config.vit.weights),
        "score": {name: round(value, 4) for name, value in scores.items()},
        "score_on": "look_up: exact answers on unseen symbolic pages, with errors; projector_error: unexplained share of the embedding",
        "seed": seed,
        "seconds": round(time.perf_counter() - started),
        "torch": torch.__version__,
        "sha256": file_sha256(path),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return scores


def _load_truth(truth: Truth, start: str) -> None:
    state = {name.removeprefix("truth."): value for name, value in load_file(start).items() if name.startswith("truth.")}
    try:
        truth.load_state_dict(state)
    except RuntimeError as error:
        raise FilaError(f"start={start}: holds no embedding of the truth that fits; start at random") from error


def _train_language(
    model: FilaModel,
    truth: Truth,
    config: RunConfig,
    recipe: AnswerRecipe,
    steps: int,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, float]:
    """Train on symbolic pages; returns exact answers on unseen ones, with errors, and by family without.

    Families are drawn by what they still miss (on pages held out for that): the easy ones are learned long before the others.
    """
    generator = np.random.default_rng(component_seed(seed, "answers"))
    data = config.data.model_copy(update={name: getattr(recipe, name) for name in ("text_height", "code_length", "by_key")})

    def draw(name: str, count: int, easy: bool = False) -> list[list[SymbolicPage]]:
        return _by_canvas(symbolic_pages(data, config.geometry, count, component_seed(seed, name), workers, easy))

    easy, full = draw("easy pages", recipe.pages // 4, easy=True), draw("pages", recipe.pages)
    held_out, unseen = draw("held out pages", recipe.unseen // 2), draw("unseen pages", recipe.unseen)
    if recipe.compiled:
        model.language.model.compile(dynamic=True)
    parameters = [p for part in (model.language, model.separator, truth) for p in part.parameters()]
    matrices = [p for p in model.language.model.layers.parameters() if p.ndim == 2]
    held = set(map(id, matrices))
    others = [p for p in parameters if id(p) not in held]
    # Orthogonalised updates (Muon): after 600 steps on easy pages 76 % exact, where AdamW alone had 59 %.
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)),
    ]
    warmup = 100

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / warmup, (steps - step) / (0.4 * steps))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, factor) for optimiser in optimisers]
    certain = replace(recipe, swapped=0.0, dropped=0.0)

    def answered(chosen: list[SymbolicPage], errors: AnswerRecipe) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            visual = truth(page_truth(chosen, config, errors, generator))
            asked = [page.asked[int(generator.integers(len(page.asked)))] for page in chosen]
            return answer_loss(model, visual, chosen[0].canvas, asked)

    missed: dict[str, float] = {}

    def drawn(pages: list[list[SymbolicPage]]) -> list[SymbolicPage]:
        group = pages[int(generator.choice(len(pages), p=[len(g) / sum(map(len, pages)) for g in pages]))]
        weights = np.array([missed.get(page.family, 1.0) for page in group])
        chosen = generator.choice(len(group), size=recipe.batch_size, p=weights / weights.sum())
        return [recoloured(group[int(i)], generator) for i in chosen]

    total, right_share = 0.0, 0.0
    for step in range(steps):
        beginner = step < recipe.easy_share * steps
        loss, right = answered(drawn(easy if beginner else full), certain if beginner else recipe)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        total, right_share = total + loss.item(), right_share + right.float().mean().item()
        if (step + 1) % REPORT == 0:
            print(f"answers step {step + 1}/{steps} loss {total / REPORT:.3f} exact {right_share / REPORT:.3f}", flush=True)
            total, right_share = 0.0, 0.0
        if (step + 1) % (5 * REPORT) == 0 and not beginner:
            found = _look_up(held_out, answered, certain)
            missed |= {name.removeprefix("look_up/"): 1 - value + SOLVED for name, value in found.items()}
            print({name: round(value, 3) for name, value in found.items()}, flush=True)
        if progress:
            progress("pretrain answers", step + 1, steps)
    return {"look_up": _look_up(unseen, answered, recipe)["look_up"]} | {
        f"{name}, no errors": value for name, value in _look_up(unseen, answered, certain).items()
    }


@torch.inference_mode()
def _look_up(
    pages: list[list[SymbolicPage]], answered: Callable[[list[SymbolicPage], AnswerRecipe], tuple[Tensor, Tensor]], errors: AnswerRecipe
) -> dict[str, float]:
    """Share of exact answers on all of these pages (`look_up`), and by family."""
    right: dict[str, list[float]] = {}
    for group in pages:
        for start in range(0, len(group), 256):
            chosen = group[start : start + 256]
            for page, hit in zip(chosen, answered(chosen, errors)[1].tolist(), strict=True):
                right.setdefault(page.family, []).append(float(hit))
    every = [hit for hits in right.values() for hit in hits]
    return {"look_up": float(np.mean(every))} | {f"look_up/{family}": float(np.mean(hits)) for family, hits in sorted(right.items())}


def _by_canvas(pages: list[SymbolicPage]) -> list[list[SymbolicPage]]:
    groups: dict[tuple[int, int], list[SymbolicPage]] = {}
    for page in pages:
        groups.setdefault(page.canvas, []).append(page)
    return list(groups.values())


def _train_projector(
    model: FilaModel,
    truth: Truth,
    config: RunConfig,
    recipe: AnswerRecipe,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None] | None,
) -> float:
    """Regress the truth's embedding from the frozen ViT's tokens; returns the unexplained share of its variance on held-out pages."""
    pages = {
        split: dense_pages(config, split, count, seed, workers)
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
        loss = F.mse_loss(model.projector(tokens[index]), wanted[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress("pretrain projector", step + 1, recipe.projector_steps)
    tokens, wanted = seen["val"]
    with torch.inference_mode():
        return float(F.mse_loss(model.projector(tokens), wanted) / wanted.var(0, unbiased=False).mean())


@torch.inference_mode()
def _tokens_and_truth(model: FilaModel, truth: Truth, config: RunConfig, pages: DensePages) -> tuple[Tensor, Tensor]:
    """All tokens of the pages' tiles and overviews [M, D_vit] and the embedding of their truth [M, D_llm]."""
    geometry = config.geometry
    tile, side = geometry.tile, pages.canvas.shape[1]
    across = side // tile
    tokens, wanted = [], []
    for start in range(0, len(pages.canvas), 100):
        canvas = torch.from_numpy(pages.canvas[start : start + 100])
        count = len(canvas)
        tiles = canvas.view(count, across, tile, across, tile, 3).transpose(2, 3).reshape(count, across * across, tile, tile, 3)
        overview = F.interpolate(canvas.permute(0, 3, 1, 2).float(), size=(tile, tile), mode="area").permute(0, 2, 3, 1)
        images = torch.cat([overview.round().to(torch.uint8)[:, None], tiles], dim=1).flatten(0, 1)
        with torch.autocast("cpu", torch.bfloat16), attention_backend(config.runtime.attention):
            features = model.encoder.vit(normalise(images)).float()
        tokens.append(raster(features.unflatten(0, (count, -1)), across, across, geometry.grid).flatten(0, 1))
        found = [_symbolic(record, side) for record in pages.records[start : start + 100]]
        exact = AnswerRecipe(swapped=0.0, dropped=0.0)
        wanted.append(truth(page_truth(found, config, exact, np.random.default_rng(0))).flatten(0, 1))
    return torch.cat(tokens).clone(), torch.cat(wanted).clone()


def _symbolic(record: np.ndarray, side: int) -> SymbolicPage:
    glyphs = record[record[:, 0] >= 0]
    return SymbolicPage((side, side), glyphs[:, :4], ())
