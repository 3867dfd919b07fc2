"""Fonts, photos and strings: complete, legible as far as a test can tell, and disjoint between train and test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fontTools.ttLib import TTFont

from fila_lab.config.base import FilaError
from fila_lab.config.seam_words import ALPHABET
from fila_lab.data import SPLITS
from fila_lab.data.seam import content, render


def test_every_font_has_every_character_and_tells_them_apart() -> None:
    for path in content.fonts("train") + content.fonts("test"):
        assert set(map(ord, ALPHABET)) <= set(TTFont(path).getBestCmap())
        drawn = {render.draw_text(character, path, 50).coverage.tobytes() for character in ALPHABET}
        assert len(drawn) == len(ALPHABET)
        assert abs(render.draw_text("H", path, 50).coverage.shape[0] - 50) <= 1


def test_splits_share_nothing_that_can_be_kept_apart() -> None:
    assert not set(content.fonts("train")) & set(content.fonts("test"))
    assert not set(content.photos("train")) & set(content.photos("test"))
    strings = {split: {c for n in (2, 3, 4) for c in content.codes(split, n)} | set(content.keys(split)) for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not strings[one] & strings[other]
    for split in SPLITS:
        assert not set(content.keys(split)) & set(content.codes(split, 2)), "a key must not be a code"
        assert all(len(content.codes(split, n)) >= 30 for n in (1, 2, 3, 4))


def test_training_makes_strings_up_and_takes_none_from_other_splits() -> None:
    generator = np.random.default_rng(0)
    for split in SPLITS:
        drawn = [content.draw_code(generator, split, length) for length in (2, 3, 4) for _ in range(400)]
        drawn += [key for _ in range(200) for key in content.draw_keys(generator, split, 4)]
        assert {content.split_of(text) for text in drawn} == {split}
        real = {code for length in (2, 3, 4) for code in content.codes(split, length)} | set(content.keys(split))
        assert (set(drawn) <= real) == (split != "train")
    assert len({content.draw_code(generator, "train", 2) for _ in range(2000)}) > 2 * len(content.codes("train", 2))
    assert len(set(content.draw_keys(generator, "test", 8))) == 8


def test_photos_come_from_the_wheels_and_fill_a_page() -> None:
    generator = np.random.default_rng(0)
    for name in content.photos("train") + content.photos("test"):
        assert render.photo_crop(generator, name, 384, 192).shape == (192, 384, 3)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(FilaError, match=r"valid.*train, val, test"):
        content.fonts("valid")
