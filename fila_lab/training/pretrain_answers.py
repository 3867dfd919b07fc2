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
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config import RunConfig, resolve_run
from fila_lab.data.content import ALPHABET, COLOURS, LAYOUTS
from fila_lab.data.pretrain_pages import DensePages, dense_pages
from fila_lab.data.symbolic import SymbolicPage, quarter_cells, symbolic_page
from fila_lab.data.truth import CLASSES
from fila_lab.modeling import FilaModel, build_model, component_seed, normalise
from fila_lab.modeling.answers import save_answer_parts
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.projector import raster
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.weights import file_sha256, weights_sha256

TRUTH = len(CLASSES) + len(COLOURS)
"""Numbers that tell the truth about one quarter cell: glyph and colour, one-hot."""
IGNORED = -100


@dataclass(frozen=True)
class AnswerRecipe:
    """How the answer model is pretrained. `swapped` and `dropped`: shares of characters that the visual tokens get wrong, or miss."""

    steps: int = 8000
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    pages: int = 40000
    easy_share: float = 0.1
    text_height: tuple[float, float] = (10.0, 14.0)
    code_length: tuple[float, float, float, float] = (0.4, 0.3, 0.2, 0.1)
    by_key: float = 0.25
    swapped: float = 0.04
    dropped: float = 0.04
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
    recipe: AnswerRecipe | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Pretrain language model and projector of a preset; writes OUT/<preset>_answers.safetensors and its card; returns the scores."""
    recipe = recipe or AnswerRecipe()
    steps = steps or recipe.steps
    torch.set_num_threads(threads)
    started = time.perf_counter()
    config = resolve_run(preset, {"fusion.name": "none", "language.weights": "random", "seed": seed})
    model = build_model(config)
    with component_rng(seed, "truth"):
        truth = Truth(config.language.width)
    scores = {"look_up": _train_language(model, truth, config, recipe, steps, seed, progress)}
    scores["projector_error"] = _train_projector(model, truth, config, recipe, seed, workers, progress)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{preset}_answers.safetensors"
    save_answer_parts(model, path)
    card = {
        "parts": "language model, row separator, projector",
        "parameters": sum(p.numel() for part in (model.language, model.separator, model.projector) for p in part.parameters()),
        "command": f"fila-lab pretrain answers --steps {steps} --seed {seed}",
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


def _train_language(
    model: FilaModel,
    truth: Truth,
    config: RunConfig,
    recipe: AnswerRecipe,
    steps: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> float:
    generator = np.random.default_rng(component_seed(seed, "answers"))
    data = config.data.model_copy(update={name: getattr(recipe, name) for name in ("text_height", "code_length", "by_key")})
    easy = _by_canvas([symbolic_page(generator, data, config.geometry, easy=True) for _ in range(recipe.pages // 4)])
    full = _by_canvas([symbolic_page(generator, data, config.geometry) for _ in range(recipe.pages)])
    unseen = _by_canvas([symbolic_page(generator, data, config.geometry) for _ in range(2000)])
    parameters = [p for part in (model.language, model.separator, truth) for p in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    warmup = 100
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / warmup, (steps - step) / (0.4 * steps)))

    certain = replace(recipe, swapped=0.0, dropped=0.0)

    def run(pages: list[list[SymbolicPage]], errors: AnswerRecipe = recipe) -> tuple[Tensor, Tensor]:
        group = pages[int(generator.choice(len(pages), p=[len(g) / sum(map(len, pages)) for g in pages]))]
        chosen = [group[int(i)] for i in generator.integers(len(group), size=recipe.batch_size)]
        with torch.autocast("cpu", torch.bfloat16):
            visual = truth(page_truth(chosen, config, errors, generator))
            return answer_loss(model, visual, chosen[0].canvas, [page.asked[int(generator.integers(len(page.asked)))] for page in chosen])

    total, right_share = 0.0, 0.0
    for step in range(steps):
        loss, right = run(easy, certain) if step < recipe.easy_share * steps else run(full)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        total, right_share = total + loss.item(), right_share + right.float().mean().item()
        if (step + 1) % 200 == 0:
            print(f"answers step {step + 1}/{steps} loss {total / 200:.3f} exact {right_share / 200:.3f}", flush=True)
            total, right_share = 0.0, 0.0
        if progress:
            progress("pretrain answers", step + 1, steps)
    with torch.inference_mode():
        return float(torch.cat([run(unseen)[1] for _ in range(20)]).float().mean())


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
