"""What a batch holds: the pool's own rows, texts and truth; under a control, another image's maps; on a spare rank nothing that counts."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import tiny

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from hand_pool import HandPool, features

from fila_lab.config import RunConfig
from fila_lab.data import Pixels, SetAside, Turn
from fila_lab.data.prompt import Dialogue
from fila_lab.modeling.language import build_tokenizer
from fila_lab.training.batches import Collator
from fila_lab.training.texts import IGNORE, Texts

CANVASES = [(84, 84), (84, 42)] * 5
DIRECT = {"fusion__name": "concat", "runtime__feature_cache": False}


def collator(config: RunConfig, pool: HandPool | None = None, seen: Any = None) -> Collator:
    return Collator(config, pool or HandPool(CANVASES, 3), seen, build_tokenizer(config.language))


def rows_on(pool: HandPool, name: str) -> np.ndarray:
    return np.flatnonzero(pool.canvases == name)


@pytest.mark.parametrize("name", ["84x84", "84x42"])
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_holds_its_own_rows(name: str, training: bool) -> None:
    made = collator(tiny(**DIRECT))
    rows = rows_on(made.pool, name)[[4, 0, 7]]
    batch = made(rows, training=training)
    assert batch.vision is not None
    assert batch.rows == rows.tolist()
    assert batch.vision.tiles[:, 0, 0, 0, 0].tolist() == rows.tolist()
    assert batch.vision.overview[:, 0, 0, 0].tolist() == (rows + 50).tolist()
    assert batch.vision.detail[:, 0, 0, 0].tolist() == (rows + 100).tolist()
    geometry = made.pool.buckets[name].geometry
    assert (batch.vision.rows, batch.vision.cols, batch.vision.layout) == (geometry.rows, geometry.cols, geometry.layout)
    assert batch.answers == [(f"A{row}", "other") for row in rows]
    assert batch.scores == ["exact"] * 3
    assert batch.truth is None
    tokenizer = build_tokenizer(tiny().language)
    for row, ids, labels, length in zip(rows, batch.vision.input_ids, batch.labels, batch.vision.prompt_lengths, strict=True):
        asked = tokenizer.decode(ids[:length])
        assert asked == f"Q{row}" + ("" if made.pool.meta["task"][row] == "reading" else "?"), "the task's ending stands behind it"
        told = labels[labels != IGNORE]
        assert bool(len(told)) == training
        if training:
            assert tokenizer.decode(told, skip_special_tokens=True) == f"A{row}"
            assert told[-1] == tokenizer.eos_token_id
            assert torch.equal(ids[length : length + len(told)], told)


@pytest.mark.parametrize("places", [1, 3])
def test_under_foreign_the_maps_are_another_images_and_nothing_else_is(places: int) -> None:
    pool = HandPool(CANVASES, places)
    direct = collator(tiny(**DIRECT, fusion__control="foreign"), pool)
    cached = collator(tiny(fusion__name="concat", fusion__control="foreign"), pool, features())
    for name in pool.buckets:
        rows = rows_on(pool, name)
        batch, told = direct(rows, training=True), cached(rows, training=True)
        assert batch.vision.tiles[:, 0, 0, 0, 0].tolist() == rows.tolist()
        assert batch.vision.detail[:, 0, 0, 0].tolist() == (pool.foreign[rows] + 100).tolist()
        assert told.vision.maps == [(name, pool.places[pool.foreign[rows]].tolist())]
        assert told.vision.detail is None


def test_cached_maps_take_the_place_of_the_detail_input_and_a_baseline_has_neither() -> None:
    pool = HandPool(CANVASES)
    rows = rows_on(pool, "84x42")
    cached = collator(tiny(fusion__name="concat"), pool, features())(rows, training=True).vision
    assert (cached.maps, cached.detail) == ([("84x42", [0, 1, 2, 3, 4])], None)
    plain = collator(tiny(fusion__name="none"), pool)(rows, training=True).vision
    assert (plain.maps, plain.detail, plain.oracle) == (None, None, None)


def test_the_oracle_is_told_of_the_rows_own_truth() -> None:
    pool = HandPool(CANVASES)
    rows = rows_on(pool, "84x84")
    batch = collator(tiny(fusion__name="concat", fusion__control="oracle_map"), pool)(rows, training=False)
    assert [grid[:, 0, 0].tolist() for grid in batch.vision.oracle] == [rows.tolist()]


def test_a_spare_batch_takes_the_step_and_counts_for_nothing() -> None:
    made = collator(tiny(**DIRECT))
    rows = rows_on(made.pool, "84x84")[:2]
    batch, plain = made(rows, training=True, spare=True), made(rows, training=True)
    assert batch.spare
    assert not plain.spare
    assert torch.equal(batch.vision.input_ids, plain.vision.input_ids)
    assert torch.equal(batch.labels, torch.full_like(plain.labels, IGNORE))
    assert (batch.answers, batch.rows, batch.scores) == ([], [], [])


def test_what_tokens_show_is_told_in_training_alone_and_of_no_row_of_a_spare_batch() -> None:
    config = tiny(**DIRECT)
    taught = config.model_copy(update={"train": config.train.model_copy(update={"truth_weight": 1.0})})
    made = collator(taught)
    rows = rows_on(made.pool, "84x42")[:3]
    assert made(rows, training=True).truth[:, 0].tolist() == rows.tolist()
    assert made(rows, training=True, spare=True).truth.shape == (0, 1)
    assert made(rows, training=False).truth is None


def test_the_time_spent_in_making_batches_is_noted() -> None:
    made = collator(tiny(**DIRECT))
    began = time.perf_counter()
    made(rows_on(made.pool, "84x84"), training=True)
    once = made.seconds
    assert 0 < once <= time.perf_counter() - began
    made(rows_on(made.pool, "84x84"), training=True)
    assert once < made.seconds <= time.perf_counter() - began


class Unanswered(HandPool):
    """Row 1 has no answer that is known, row 2 one that is too long."""

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        return [(Turn(f"Q{row}", {1: (), 2: ("x" * 40,)}.get(int(row), (f"A{row}",))),) for row in rows]


def test_prompts_bring_the_same_rows_with_their_answers_where_these_have_a_loss() -> None:
    config, pool = tiny(**DIRECT, language__max_tokens=60), Unanswered([(84, 84)] * 4)
    tokenizer = build_tokenizer(config.language)
    plain, made = (Collator(config, pool, None, tokenizer, answered=answered) for answered in (False, True))
    rows = np.arange(4)
    batch, prompts, trained = made(rows, training=False), plain(rows, training=False), plain(rows, training=True)
    assert torch.equal(batch.vision.input_ids, prompts.vision.input_ids), "it is asked as it would be without"
    assert (prompts.answered, made(rows, training=True).answered) == (None, None)
    assert Collator(config, pool, None, tokenizer)(rows, training=False).answered is None, "asked for by name alone"
    told = [tokenizer.decode(own[own != IGNORE], skip_special_tokens=True) for own in batch.answered.labels]
    assert told == ["A0", "", "", "A3"]
    assert trained.rows == [0, 3]
    width = trained.labels.shape[1]
    assert torch.equal(batch.answered.ids[trained.rows, :width], trained.vision.input_ids)
    assert torch.equal(batch.answered.labels[trained.rows, :width], trained.labels)


class TextsAlone(HandPool):
    """Rows without an image."""

    def __init__(self) -> None:
        super().__init__([(84, 84)] * 2)
        self.buckets = {name: replace(bucket, geometry=None) for name, bucket in self.buckets.items()}

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        return Pixels(rows, None, None, None)

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        return [(Turn("Q" * 40, ("A",)),) for _ in rows]  # longer than an image, else no run could ask it


def test_a_text_alone_has_no_visual_tokens_to_count() -> None:
    """The longest sequence is that of its words: one less, and its answer would be cut off."""
    pool, rows = TextsAlone(), np.arange(1)
    length = int((collator(tiny(), pool)(rows, training=True).vision.input_ids[0] != build_tokenizer(tiny().language).pad_token_id).sum())
    for most, kept in ((length, [0]), (length - 1, [])):
        assert collator(tiny(language__max_tokens=most), pool)(rows, training=True).rows == kept


class Holed(HandPool):
    """Every other row cannot be read."""

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        kept = np.asarray([row for row in rows if row % 2 == 0], np.int64)
        aside = tuple(SetAside(f"item-{row}", "damaged image", f"item-{row} is damaged") for row in rows if row % 2)
        return Pixels(kept, None, None, None, aside) if not len(kept) else _told(super().pixels(kept, detail), aside)


def _told(seen: Pixels, aside: tuple[SetAside, ...]) -> Pixels:
    return Pixels(seen.rows, seen.tiles, seen.overview, seen.detail, aside)


def test_rows_that_cannot_be_read_are_left_out_and_told() -> None:
    pool = Holed([(84, 84)] * 6)
    batch = collator(tiny(**DIRECT), pool)(np.arange(5), training=True)
    assert batch.rows == [0, 2, 4]
    assert len(batch.labels) == len(batch.answers) == len(batch.scores) == len(batch.vision) == 3
    assert [row.row for row in batch.aside] == ["item-1", "item-3"]
    nothing = collator(tiny(**DIRECT), pool)(np.array([1, 3]), training=True)
    assert nothing.vision is None
    assert (nothing.rows, nothing.answers, len(nothing.aside)) == ([], [], 2)


def test_conversations_carry_loss_on_every_answer_in_training_and_end_at_the_last_question_else() -> None:
    tokenizer = build_tokenizer(tiny().language)
    end, texts = tokenizer.eos_token_id, Texts(tokenizer)
    talk = [Dialogue((Turn("one", ("AB",)), Turn("two", ("CD", "cd")))), Dialogue((Turn("three", ("E",)),), ending="!")]
    ids, _, labels, _ = texts(talk, True)
    for row, wanted in enumerate((["AB", "CD"], ["E"])):
        assert tokenizer.decode(labels[row][labels[row] != IGNORE]).replace(" ", "") == tokenizer.decode(
            [token for answer in wanted for token in [*tokenizer(answer, add_special_tokens=False).input_ids, end]]
        ).replace(" ", "")
        carried = labels[row] != IGNORE
        assert torch.equal(ids[row][carried], labels[row][carried])
    asked, cut, none, _ = texts(talk, False)
    assert (none == IGNORE).all()
    for row, length in enumerate(cut.tolist()):
        assert torch.equal(asked[row, :length], ids[row, :length]), "the prompt is what training saw before the last answer"
    assert (asked[1, cut[1] :] == texts.pad).all()
