"""Teaching mini's language model to look things up: on pages without pixels, whose visual tokens tell the truth about quarter cells."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config import RunConfig
from fila_lab.config.json_files import parse_json
from fila_lab.config.seam_words import ALPHABET
from fila_lab.config.tiling import TileLayout
from fila_lab.data.seam.symbolic import SymbolicPage, recoloured, symbolic_pages
from fila_lab.data.seam.truth import token_truth
from fila_lab.modeling import FilaModel, component_seed
from fila_lab.modeling.answers import Truth
from fila_lab.modeling.language import closing_token, text_ids
from fila_lab.modeling.precision import autocast
from fila_lab.pretraining.checkpoint import Checkpoint
from fila_lab.pretraining.device import products
from fila_lab.pretraining.halves import round_as_stored

IGNORED = -100
REPORT = 200
"""Steps between two lines of the log."""
WARMUP = 100

ByCanvas = list[list[SymbolicPage]]


@dataclass(frozen=True)
class AnswerRecipe:
    """How the answer model is pretrained.

    `swapped` and `dropped`: shares of characters that the visual tokens get wrong, or miss; `solved`: how often a task that is answered
    throughout is still drawn, where one that is never answered is drawn 1 + `solved` times; `compiled`: torch.compile for the language
    model, twice as fast on a CPU with a C++ compiler, other in the last bits.
    """

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
    solved: float = 0.1
    compiled: bool = False
    projector_steps: int = 1500
    projector_learning_rate: float = 2e-3
    dense_pages: int = 2000
    held_out_pages: int = 200


def page_truth(pages: list[SymbolicPage], config: RunConfig, recipe: AnswerRecipe, generator: np.random.Generator) -> Tensor:
    """Truth tokens of pages of one canvas, with the recipe's errors, overview first: [B, g*g + T, 4 * TRUTH]."""
    counts = np.array([len(page.glyphs) for page in pages])
    glyphs = np.concatenate([page.glyphs for page in pages])
    classes = glyphs[:, 0].astype(int)
    chance = generator.random(len(classes))
    swapped = (classes < len(ALPHABET)) & (chance < recipe.swapped)
    records = np.zeros((len(pages), counts.max(), 4), np.float32)
    told = np.zeros(records.shape[:2], bool)
    at = np.repeat(np.arange(len(pages)), counts), np.concatenate([np.arange(count) for count in counts])
    records[at] = glyphs[:, :4]
    records[*at, 0] = np.where(swapped, generator.integers(len(ALPHABET), size=len(classes)), classes)
    told[at] = chance < 1 - recipe.dropped
    geometry = config.geometry
    return torch.from_numpy(token_truth(records, counts, pages[0].canvas, geometry.tile, geometry.patch, told)).float()


def answer_loss(model: FilaModel, visual: Tensor, canvas: tuple[int, int], asked: list[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy per answer token, and whether each answer is right throughout [B].

    visual: tokens of B pages of one canvas (width, height), [B, T, D_llm]; asked: their (question, answer).
    """
    geometry = model.config.geometry
    visual = model.separator(visual, TileLayout.side_by_side(geometry.grid, canvas[1] // geometry.tile, canvas[0] // geometry.tile))
    end = [closing_token(model.tokenizer)]
    prompts = text_ids(model.tokenizer, [question for question, _ in asked])
    answers = [ids + end for ids in text_ids(model.tokenizer, [answer for _, answer in asked])]
    place = visual.device
    ids = torch.zeros(len(asked), max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True)), dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[n, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[n, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    ids, labels = ids.to(place), labels.to(place)
    wanted = labels != IGNORED
    logits = model.text_logits(visual, ids, wanted)
    right = torch.ones_like(wanted)
    right[wanted] = logits.argmax(-1) == labels[wanted]
    return F.cross_entropy(logits, labels[wanted]), right.all(1)


@dataclass
class _Pupil:
    """The model at its lessons. `missed`: by what each task is drawn."""

    model: FilaModel
    truth: Truth
    config: RunConfig
    generator: np.random.Generator
    missed: dict[str, float] = field(default_factory=dict)

    def answered(self, chosen: list[SymbolicPage], errors: AnswerRecipe) -> tuple[Tensor, Tensor]:
        """Loss, and whether each page's question (one of those that may be asked) is answered right [B]."""
        place = self.truth.embed.weight.device
        with autocast(products(place), place.type):
            visual = self.truth(page_truth(chosen, self.config, errors, self.generator).to(place))
            asked = [page.asked[int(self.generator.integers(len(page.asked)))] for page in chosen]
            return answer_loss(self.model, visual, chosen[0].canvas, asked)

    def drawn(self, pages: ByCanvas, count: int) -> list[SymbolicPage]:
        """Pages of one canvas, recoloured."""
        group = pages[int(self.generator.choice(len(pages), p=[len(g) / sum(map(len, pages)) for g in pages]))]
        weights = np.array([self.missed.get(page.task, 1.0) for page in group])
        chosen = self.generator.choice(len(group), size=count, p=weights / weights.sum())
        return [recoloured(group[int(i)], self.generator) for i in chosen]

    @torch.inference_mode()
    def score(self, pages: ByCanvas, errors: AnswerRecipe) -> dict[str, float]:
        """Share of exact answers on all of these pages (`look_up`), and by task."""
        right: dict[str, list[float]] = {}
        for group in pages:
            for start in range(0, len(group), 256):
                chosen = group[start : start + 256]
                for page, hit in zip(chosen, self.answered(chosen, errors)[1].tolist(), strict=True):
                    right.setdefault(page.task, []).append(float(hit))
        every = [hit for hits in right.values() for hit in hits]
        return {"look_up": float(np.mean(every))} | {f"look_up/{task}": float(np.mean(hits)) for task, hits in sorted(right.items())}


def train_look_up(
    model: FilaModel,
    truth: Truth,
    config: RunConfig,
    recipe: AnswerRecipe,
    steps: int,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None] | None,
    checkpoint: Checkpoint,
) -> dict[str, float]:
    """Train language model, separator and `truth`, where they lie; returns exact answers on unseen pages, with errors, and by task without.
    No steps: they are scored as they are.

    Tasks are drawn by what they still miss (on pages held out for that): the easy ones are learned long before the others.
    """
    seam = config.data.seam.model_copy(update={name: getattr(recipe, name) for name in ("text_height", "code_length", "by_key")})

    def draw(name: str, count: int, easy: bool = False) -> ByCanvas:
        return _by_canvas(symbolic_pages(seam, config.geometry, count, component_seed(seed, name), workers, easy))

    unseen = draw("unseen pages", recipe.unseen)
    pupil = _Pupil(model, truth, config, np.random.default_rng(component_seed(seed, "answers")))
    certain = replace(recipe, swapped=0.0, dropped=0.0)
    if steps:
        easy, full = draw("easy pages", recipe.pages // 4, easy=True), draw("pages", recipe.pages)
        _lessons(pupil, easy, full, draw("held out pages", recipe.unseen // 2), certain, recipe, steps, progress, checkpoint)
    for part in (model.language, model.separator, truth):
        round_as_stored(part)
    scores = {"look_up": pupil.score(unseen, recipe)["look_up"]}
    return scores | {f"{name}, no errors": value for name, value in pupil.score(unseen, certain).items()}


def _lessons(
    pupil: _Pupil,
    easy: ByCanvas,
    full: ByCanvas,
    held_out: ByCanvas,
    certain: AnswerRecipe,
    recipe: AnswerRecipe,
    steps: int,
    progress: Callable[[str, int, int], None] | None,
    checkpoint: Checkpoint,
) -> None:
    """The optimiser steps. certain: the recipe without errors."""
    model, truth = pupil.model, pupil.truth
    if recipe.compiled:
        model.language.model.compile(dynamic=True)
    parameters = [p for part in (model.language, model.separator, truth) for p in part.parameters()]
    optimisers = _optimisers(model, parameters, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(own, lambda step: min(1.0, (step + 1) / WARMUP, (steps - step) / (0.4 * steps)))
        for own in optimisers
    ]
    total, right_share, first = 0.0, 0.0, 0
    taught: dict[str, nn.Module] = {"language": model.language, "separator": model.separator, "truth": truth}
    if (stands := checkpoint.read()) is not None:
        for name, part in taught.items():
            part.load_state_dict(stands[name])
        for own, state in zip(optimisers, stands["optimisers"], strict=True):
            own.load_state_dict(state)
        for schedule, state in zip(schedules, stands["schedules"], strict=True):
            schedule.load_state_dict(state)
        pupil.generator.bit_generator.state = parse_json(stands["generator"])
        pupil.missed, total, right_share, first = stands["missed"], stands["total"], stands["right_share"], stands["step"]
    for step in range(first, steps):
        beginner = step < recipe.easy_share * steps
        loss, right = pupil.answered(pupil.drawn(easy if beginner else full, recipe.batch_size), certain if beginner else recipe)
        model.zero_grad(set_to_none=True)
        truth.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for own, schedule in zip(optimisers, schedules, strict=True):
            own.step()
            schedule.step()
        total, right_share = total + loss.item(), right_share + right.float().mean().item()
        if (step + 1) % REPORT == 0:
            print(f"answers step {step + 1}/{steps} loss {total / REPORT:.3f} exact {right_share / REPORT:.3f}", flush=True)
            total, right_share = 0.0, 0.0
        if (step + 1) % (5 * REPORT) == 0 and not beginner:
            found = pupil.score(held_out, certain)
            pupil.missed = {name.removeprefix("look_up/"): 1 - value + recipe.solved for name, value in found.items()}
        if checkpoint.due(step + 1, steps):
            checkpoint.write(
                step=step + 1,
                total=total,
                right_share=right_share,
                missed=pupil.missed,
                generator=json.dumps(pupil.generator.bit_generator.state),
                optimisers=[own.state_dict() for own in optimisers],
                schedules=[own.state_dict() for own in schedules],
                **{name: part.state_dict() for name, part in taught.items()},
            )
        if progress:
            progress("pretrain answers", step + 1, steps)


def _optimisers(model: FilaModel, parameters: list[nn.Parameter], recipe: AnswerRecipe) -> list[torch.optim.Optimizer]:
    """Orthogonalised updates (Muon) for the layers' matrices: after 600 steps on easy pages 76 % exact, where AdamW alone had 59 %."""
    matrices = [p for p in model.language.model.layers.parameters() if p.ndim == 2]
    held = set(map(id, matrices))
    others = [p for p in parameters if id(p) not in held]
    return [
        torch.optim.Muon(matrices, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)),
    ]


def _by_canvas(pages: list[SymbolicPage]) -> list[list[SymbolicPage]]:
    groups: dict[tuple[int, int], list[SymbolicPage]] = {}
    for page in pages:
        groups.setdefault(page.canvas, []).append(page)
    return list(groups.values())
