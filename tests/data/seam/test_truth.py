"""Truth maps: each glyph in its own cell, in the channel of its class."""

from __future__ import annotations

import numpy as np

from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import ALPHABET, LAYOUTS, ORACLE_CHANNELS, TRUTH_CHANNELS
from fila_lab.data.seam import CLASSES, SeamItem, glyph_records, truth_maps
from fila_lab.data.seam.content import COLOURS
from fila_lab.data.seam.truth import TRUTH, by_token, token_truth
from fila_lab.imaging import Geometry

COLOURS_BY_NUMBER = tuple(COLOURS)


def test_every_glyph_has_its_own_cell_and_channel(train: list[SeamItem], geometry: GeometryConfig) -> None:
    for item in train[:60]:
        where = Geometry.of(*item.image.size, geometry)
        records = glyph_records(item)
        maps = truth_maps(records[None], np.array([len(records)]), where)
        cells = where.rows * where.detail_cells, where.cols * where.detail_cells
        assert [grid.shape[1:] for grid in maps] == [(ORACLE_CHANNELS, cells[0] * n, cells[1] * n) for n in (8, 4, 2, 1)]
        fine = maps[0][0]
        assert (fine.sum(0) == 3).all()  # name, colour and role, or that there is none
        letters_and_layouts = fine[: TRUTH_CHANNELS.index("red")]
        assert letters_and_layouts.sum() == len(item.glyphs)
        assert (letters_and_layouts.sum(0) <= 1).all()
        assert fine[TRUTH_CHANNELS.index("key")].sum() == sum(glyph.key for glyph in item.glyphs)
        for glyph, record in zip(item.glyphs, records, strict=True):
            x, y = ((glyph.box[i] + glyph.box[i + 2]) / 2 / item.image.size[i] * fine.shape[2 - i] for i in (0, 1))
            names = {TRUTH_CHANNELS[c] for c in np.flatnonzero(fine[:, int(y), int(x)])}
            assert CLASSES[int(record[0])] == glyph.char
            assert glyph.colour in names
            assert names & {glyph.char, f"{glyph.char} left", f"{glyph.char} right"}


def test_the_order_of_two_characters_in_a_token_can_be_read(geometry: GeometryConfig) -> None:
    where = Geometry.of(384, 384, geometry)
    both = [np.array([[[CLASSES.index(a), 0, 17, 20, 6, 0], [CLASSES.index(b), 0, 25, 20, 6, 0]]], np.float32) for a, b in ("AB", "BA")]
    one, other = (truth_maps(records, np.array([2]), where)[3] for records in both)
    assert one[0, :, 1, 1].any()
    assert not np.array_equal(one[0, :, 1, 1], other[0, :, 1, 1])


def test_padding_says_nothing(train: list[SeamItem], geometry: GeometryConfig) -> None:
    item = train[0]
    where = Geometry.of(*item.image.size, geometry)
    records = glyph_records(item)
    padded = np.concatenate([records, np.zeros((5, 6), np.float32)])[None]
    pairs = zip(
        truth_maps(padded, np.array([len(records)]), where), truth_maps(records[None], np.array([len(records)]), where), strict=True
    )
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_glyph_is_told_in_its_token_and_quarter() -> None:
    grid = np.zeros((1, 6, 6, TRUTH), np.uint8)
    grid[0, 3, 4, 7] = 1
    tokens = by_token(grid)
    assert tokens.shape == (1, 9, 4 * TRUTH)
    assert tokens[0, 1 * 3 + 2, 2 * TRUTH + 7] == 1
    assert tokens.sum() == 1


def test_tokens_of_the_canvas_say_what_the_truth_maps_say(train: list[SeamItem], geometry: GeometryConfig) -> None:
    """Quarters of tokens are the cells of stage 3 where a token has one cell of stage 4: two ways to one truth."""
    letters, channel = len(ALPHABET), {name: at for at, name in enumerate(TRUTH_CHANNELS)}
    others = [channel[name] for name in (*CLASSES[letters:], *COLOURS)]
    for item in train[:60]:
        where = Geometry.of(*item.image.size, geometry)
        records, count = glyph_records(item)[None], np.array([len(item.glyphs)])
        cells = truth_maps(records, count, where)[2].transpose(0, 2, 3, 1)
        either = np.maximum(cells[..., :letters], cells[..., letters : 2 * letters])
        told = token_truth(records, count, where.canvas, where.tile, where.patch)
        assert np.array_equal(told[:, geometry.grid**2 :], by_token(np.concatenate([either, cells[..., others]], axis=-1)))


def test_the_overview_tells_colours_and_panels_but_no_character(train: list[SeamItem], geometry: GeometryConfig) -> None:
    panels = 0
    for item in train[:60]:
        where = Geometry.of(*item.image.size, geometry)
        told = token_truth(glyph_records(item)[None], np.array([len(item.glyphs)]), where.canvas, where.tile, where.patch)
        names = told[0, : geometry.grid**2].reshape(-1, TRUTH).any(0)
        assert {COLOURS_BY_NUMBER[at] for at in np.flatnonzero(names[len(CLASSES) :])} == {glyph.colour for glyph in item.glyphs}
        assert {CLASSES[at] for at in np.flatnonzero(names[: len(CLASSES)])} == {glyph.char for glyph in item.glyphs} & set(LAYOUTS)
        panels += bool(names[: len(CLASSES)].any())
    assert 0 < panels < 60


def test_a_name_kept_back_leaves_its_colour(train: list[SeamItem], geometry: GeometryConfig) -> None:
    item = next(item for item in train if item.task == "reading")
    where = Geometry.of(*item.image.size, geometry)
    records, count = glyph_records(item)[None], np.array([len(item.glyphs)])
    kept_back = np.zeros((1, len(item.glyphs)), bool)
    told = token_truth(records, count, where.canvas, where.tile, where.patch, kept_back).reshape(-1, TRUTH)
    assert not told[:, : len(CLASSES)].any()
    assert told[:, len(CLASSES) :].any()
