"""Greedy answers to prompts of mixed length: ours, transformers' own `generate` on the same padded batch, and one length after the other.

`python -m benchmarks.generation`: tokens a second over transformers', nothing else running beside it; writes generation.json.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.lines import Line
from benchmarks.report import write_record
from benchmarks.subjects import Subject
from benchmarks.timing import Tick, run_rounds
from fila_lab.config import RunConfig, resolve_run
from fila_lab.cost import synthetic_batch
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.generation import greedy
from fila_lab.modeling.language import text_ids

OURS, LIBRARY, BY_LENGTH = "ours", "transformers", "one length after the other"
AT_LEAST = 0.9
"""Of transformers' tokens a second."""
SHORTEST, LONGEST = 4, 40
"""Characters of a question."""
ALPHABET = list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789 ")


@dataclass
class Prompts:
    """What is answered: prompts [B, L, D_llm] padded on the right, their lengths [B], and when an answer ends."""

    model: FilaModel
    prompts: Tensor
    lengths: Tensor
    ends: Sequence[int]
    limit: int

    @classmethod
    def drawn(cls, config: RunConfig, count: int, limit: int, ended: bool) -> Prompts:
        """The same by the run's own model and weights."""
        torch.manual_seed(0)
        return cls.asked(build_model(config, detail_branch=False).eval(), config, count, limit, ended)

    @classmethod
    def asked(cls, model: FilaModel, config: RunConfig, count: int, limit: int, ended: bool) -> Prompts:
        """Noise on the preset's largest canvas, and questions of random characters. ended: answers end where the model ends them, else all
        at the limit."""
        device = next(model.parameters()).device
        rng = np.random.default_rng(0)
        questions = ["".join(rng.choice(ALPHABET, size=size)) for size in rng.integers(SHORTEST, LONGEST + 1, size=count)]
        ids = text_ids(model.tokenizer, questions)
        lengths = torch.tensor([len(own) for own in ids], device=device)
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(own, device=device) for own in ids], batch_first=True)
        with torch.inference_mode():
            visual = model.see(synthetic_batch(config, count).to(device))
            prompts = torch.cat([visual, model.reader.embed(padded)], dim=1)
        return cls(model, prompts, visual.shape[1] + lengths, model.ends if ended else [], limit)

    def ours(self) -> list[list[int]]:
        """As `FilaModel.answer` does."""
        return greedy(self.model.reader, self.prompts, self.lengths, self.ends, self.limit)

    def by_length(self) -> list[list[int]]:
        """Batches of equally long prompts, which need no mask, one after the other."""
        answers: list[list[int]] = [[] for _ in self.lengths]
        for length in self.lengths.unique():
            chosen = (self.lengths == length).nonzero().squeeze(1)
            own = greedy(self.model.reader, self.prompts[chosen, : int(length)], self.lengths[chosen], self.ends, self.limit)
            for row, ids in zip(chosen.tolist(), own, strict=True):
                answers[row] = ids
        return answers

    def library(self) -> list[list[int]]:
        """transformers' generate, given what it wants: padded on the left, with a mask."""
        rows, mask = self._left_padded
        generate: Any = self.model.language.generate
        ids = generate(
            inputs_embeds=rows,
            attention_mask=mask,
            max_new_tokens=self.limit,
            do_sample=False,
            eos_token_id=list(self.ends) or None,
            pad_token_id=0,
        )
        return [self._cut(row) for row in ids.tolist()]

    def prepare(self) -> None:
        """Lay out the padded batch for the library, before any clock runs."""
        longest, device = int(self.lengths.max()), self.lengths.device
        places = torch.arange(longest, device=device) - (longest - self.lengths)[:, None]
        rows = self.prompts[torch.arange(len(places), device=device)[:, None], places.clamp(min=0)]
        self._left_padded = rows, (places >= 0).long()

    def _cut(self, ids: list[int]) -> list[int]:
        at = next((place for place, token in enumerate(ids) if token in self.ends), len(ids) - 1)
        return ids[: at + 1]


def generation_speeds(prompts: Prompts, precision: str, rounds: int, tick: Tick = lambda _: None) -> dict[str, float]:
    """Tokens a second over transformers' of the same round: medians over rounds. (The same answers, so the ratio of times, inverted.)"""
    prompts.prepare()
    subjects = [Subject(OURS, prompts.ours), Subject(LIBRARY, prompts.library), Subject(BY_LENGTH, prompts.by_length)]
    total = run_rounds(subjects, precision, rounds, tick).total
    return {name: statistics.median(b / a for a, b in zip(total[name], total[LIBRARY], strict=True)) for name in (OURS, BY_LENGTH)}


def main(
    out: Annotated[Path, typer.Option(help="folder for generation.json")] = Path("runs/bench"),
    preset: Annotated[str, typer.Option(help="whose sizes and weights")] = "mini",
    count: Annotated[int, typer.Option(min=1, help="prompts")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="interleaved rounds that count; one more warms up")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="threads of a call")] = os.cpu_count() or 1,
) -> None:
    """Measure; nothing else should run beside it."""
    console = Console()
    torch.set_num_threads(threads)
    config = resolve_run(preset, {"fusion.name": "none"})
    limit = config.language.answer_tokens
    found: list[dict[str, object]] = []
    table = Table("answers", "precision", "tokens/s over transformers'", f"{BY_LENGTH}, over transformers'")
    for ended in (True, False):
        prompts = Prompts.drawn(config, count, limit, ended)
        kind = "that end" if ended else f"of {limit} tokens"
        for precision in ("fp32", "bf16"):
            ratios = generation_speeds(prompts, precision, rounds)
            line = Line(
                "generation", precision, f"tokens/s over transformers' generate, answers {kind}", ratios[OURS], AT_LEAST, upper=False
            )
            table.add_row(kind, precision, f"{ratios[OURS]:.2f}", f"{ratios[BY_LENGTH]:.2f}")
            found.append({"answers": kind, "precision": precision, "ratios": ratios, "line": line.record()})
            console.print(f"[{'green' if line.met else 'red'}]{line.arm}, {line.precision}[/]: {line}", highlight=False)
    console.print(table)
    settings = {"preset": preset, "prompts": count, "characters": [SHORTEST, LONGEST], "limit": limit, "rounds": rounds}
    path = write_record(out, "generation", settings, generation=found)
    console.print(f"written: {path}", highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(main)
