"""From rows of a pool, and cached features, to what a model reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.counts import llm_tokens
from fila_lab.config.tiling import NO_IMAGE
from fila_lab.data.pool import Bucket, Pool
from fila_lab.data.prompt import Dialogue, Encoded
from fila_lab.data.suite import SetAside
from fila_lab.modeling import VisionBatch
from fila_lab.training.features import Features, needs_detail
from fila_lab.training.texts import IGNORE, PaddedTexts, Texts


@dataclass
class Batch:
    """What the module consumes: the model's input, labels [B, L], the accepted answers, and, where train.truth_weight asks for it, what the
    tokens show.

    `rows`: the pool's rows, without those that could not be read or asked, which `aside` tells. A spare batch is there so that a rank
    without rows of its own takes the step too: it counts for nothing. A batch without rows has no `vision`.
    """

    vision: VisionBatch | None
    labels: Tensor
    answers: list[tuple[str, ...]]
    rows: list[int]
    scores: list[str]
    """By which score each row is judged."""
    truth: Tensor | None = None
    spare: bool = False
    aside: tuple[SetAside, ...] = ()
    step_tokens: int | None = None
    """Answer tokens of all the forward passes of its step, where that takes several."""
    answered: PaddedTexts | None = None
    """The texts of the same rows with their answers, where prompts are asked and answers have a loss besides."""

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The same batch on a device; Lightning asks for it, and does not look inside then."""
        vision = None if self.vision is None else self.vision.to(device)
        truth = None if self.truth is None else self.truth.to(device, non_blocking=non_blocking)
        answered = None if self.answered is None else self.answered.to(device)
        return replace(self, vision=vision, labels=self.labels.to(device, non_blocking=non_blocking), truth=truth, answered=answered)


class Collator:
    """Rows of a pool to a Batch.

    answered: whether batches of prompts bring the same rows with their answers too.

    Raises:
        FilaError: the control `foreign` with a canvas that has a single image; train.truth_weight where tokens are not the canvas's own.
    """

    def __init__(
        self, config: RunConfig, pool: Pool, features: Features | None, tokenizer: PreTrainedTokenizerBase, answered: bool = False
    ) -> None:
        self.config, self.pool, self.features, self.answered = config, pool, features, answered
        self.texts = Texts(tokenizer, config.language)
        self.seconds = 0.0
        """Time spent in making batches so far, in this process."""
        if config.train.truth_weight:
            check_plain(pool)
        self.foreign = pool.foreign if config.fusion.control == "foreign" else None

    def __call__(self, rows: np.ndarray, training: bool, spare: bool = False) -> Batch:
        """rows: of `pool`, all of one bucket. Training sequences carry the answers; evaluation ones end at the last question."""
        started = time.perf_counter()
        batch = self._made(np.asarray(rows), training)
        if spare:
            uncounted = torch.full_like(batch.labels, IGNORE)
            truth = None if batch.truth is None else batch.truth[:0]
            batch = replace(batch, labels=uncounted, answers=[], rows=[], scores=[], truth=truth, spare=True)
        self.seconds += time.perf_counter() - started
        return batch

    def _made(self, rows: np.ndarray, training: bool) -> Batch:
        pool, bucket = self.pool, self.pool.bucket(rows)
        asked, unasked = self._asked(rows, bucket, training)
        if not asked:
            return _empty(unasked)
        live = self.features is None and needs_detail(self.config) and bucket.geometry is not None
        seen = pool.pixels(np.array(list(asked)), detail=live and self.foreign is None)
        rows, aside = seen.rows, (*unasked, *seen.aside)
        if not len(rows):
            return _empty(aside)
        told = rows if self.foreign is None else self.foreign[rows]
        detail = seen.detail if not live or self.foreign is None else self._detail_of(told)
        image = bucket.geometry is not None
        texts = self.texts.padded([asked[row].ids for row in rows])
        vision = VisionBatch.of(
            NO_IMAGE if bucket.geometry is None else bucket.geometry.layout,
            texts.ids,
            texts.prompt_lengths,
            image_at=texts.image_at,
            tiles=seen.tiles,
            overview=seen.overview,
            detail=detail,
            maps=None if self.features is None or not image else self.features.maps(bucket.name, pool.places[told]),
            oracle=self._oracle(rows, bucket),
        )
        truth = self._truth(rows, bucket) if training else None
        answers = [asked[row].dialogue.turns[-1].answers for row in rows]
        scores = [pool.rules[str(task)].score for task in pool.tasks[rows]]
        whole = self._answered([asked[row] for row in rows], bucket) if self.answered and not training else None
        return Batch(vision, texts.labels, answers, rows.tolist(), scores, truth, aside=aside, answered=whole)

    def _visual(self, bucket: Bucket) -> int:
        """Visual tokens of each of its rows."""
        return 0 if bucket.geometry is None else llm_tokens(bucket.geometry.canvas, self.config, bucket.geometry.image_size)

    def _asked(self, rows: np.ndarray, bucket: Bucket, training: bool) -> tuple[dict[int, _Asked], tuple[SetAside, ...]]:
        """Row -> what is asked of it, of the rows that the run's template can ask and that fit in its longest sequence; and the others."""
        pool, prompt, geometry, visual = self.pool, self.texts.prompt, bucket.geometry, self._visual(bucket)
        turns, tasks = pool.turns(rows), pool.tasks[rows]
        dialogues = [Dialogue(each, geometry is not None, pool.rules[str(task)].ending) for each, task in zip(turns, tasks, strict=True)]
        wrong = {row: why for row, each in zip(rows, dialogues, strict=True) if (why := prompt.refused(each, training)) is not None}
        kept = [(row, each) for row, each in zip(rows, dialogues, strict=True) if row not in wrong]
        asked = {}
        for (row, each), ids in zip(kept, self.texts.encoded([each for _, each in kept], training), strict=True):
            if (why := prompt.cut_off(ids, visual)) is not None:
                wrong[row] = why
            else:
                asked[row] = _Asked(each, ids)
        if not wrong:
            return asked, ()
        names = pool.describe(np.array(list(wrong)))["item_id"]
        return asked, tuple(
            SetAside(str(name), reason, f"{name}: {what}") for name, (reason, what) in zip(names, wrong.values(), strict=True)
        )

    def _answered(self, rows: Sequence[_Asked], bucket: Bucket) -> PaddedTexts:
        """Prompts with their answers; one whose answer is not known, or would be cut off, as it is: it has no loss."""
        prompt, visual = self.texts.prompt, self._visual(bucket)
        known = [number for number, row in enumerate(rows) if prompt.refused(row.dialogue, trained=True) is None]
        told = dict(zip(known, self.texts.encoded([rows[number].dialogue for number in known], answered=True), strict=True))
        fitting = {number: ids for number, ids in told.items() if prompt.cut_off(ids, visual) is None}
        return self.texts.padded([fitting.get(number, row.ids) for number, row in enumerate(rows)])

    def _detail_of(self, rows: np.ndarray) -> np.ndarray:
        """The detail inputs [B, Hd, Wd, 3] of other rows; FilaError where one of them cannot be read: the control has no other to show."""
        seen = self.pool.pixels(rows, detail=True)
        if seen.aside or seen.detail is None:
            why = seen.aside[0].message if seen.aside else "it has no detail input"
            raise FilaError(f"fusion.control='foreign': the image whose map is read in place of another's cannot be read ({why}); mend it")
        return seen.detail

    def _oracle(self, rows: np.ndarray, bucket: Bucket) -> list[Tensor] | None:
        if self.config.fusion.control != "oracle_map" or bucket.geometry is None:
            return None
        records, counts = self.pool.truth(rows)
        assert self.pool.oracle is not None  # `truth` refuses otherwise
        maps = self.pool.oracle.maps(records, counts, bucket.geometry, bucket.canvas)
        return [torch.from_numpy(grid).to(torch.bfloat16) for grid in maps]

    def _truth(self, rows: np.ndarray, bucket: Bucket) -> Tensor | None:
        if not self.config.train.truth_weight or bucket.geometry is None:
            return None
        records, counts = self.pool.truth(rows)
        assert self.pool.oracle is not None
        return torch.from_numpy(self.pool.oracle.tokens(records, counts, bucket.geometry))


@dataclass(frozen=True)
class _Asked:
    """What is asked of a row, and its ids."""

    dialogue: Dialogue
    ids: Encoded


def _empty(aside: tuple[SetAside, ...]) -> Batch:
    return Batch(None, torch.zeros(0, 0, dtype=torch.long), [], [], [], aside=aside)


def check_plain(pool: Pool) -> None:
    """FilaError where visual tokens are not a canvas's own, side by side: what they show is not known then."""
    for bucket in pool.buckets.values():
        geometry = bucket.geometry
        if geometry is not None and (not geometry.layout.plain or geometry.resized != bucket.canvas):
            raise FilaError("train.truth_weight needs tiles side by side that fill the canvas; set geometry.tiling back, or truth_weight=0")
