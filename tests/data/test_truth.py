"""Truth maps: each glyph in its own cell, in the channel of its class."""

from __future__ import annotations

import numpy as np

from fila_lab.config.run import GeometryConfig
from fila_lab.data import CLASSES, TRUTH_CHANNELS, Item, glyph_records, truth_channels, truth_maps
from fila_lab.imaging import Geometry


def test_every_glyph_has_its_own_cell_and_channel(train: list[Item], geometry: GeometryConfig) -> None:
    for item in train[:60]:
        where = Geometry.of(*item.image.size, geometry)
        records = glyph_records(item)
        maps = truth_maps(records[None], np.array([len(records)]), where)
        cells = where.rows * where.detail_cells, where.cols * where.detail_cells
        assert [grid.shape[1:] for grid in maps] == [(truth_channels(), cells[0] * n, cells[1] * n) for n in (8, 4, 2, 1)]
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


def test_padding_says_nothing(train: list[Item], geometry: GeometryConfig) -> None:
    item = train[0]
    where = Geometry.of(*item.image.size, geometry)
    records = glyph_records(item)
    padded = np.concatenate([records, np.zeros((5, 6), np.float32)])[None]
    pairs = zip(
        truth_maps(padded, np.array([len(records)]), where), truth_maps(records[None], np.array([len(records)]), where), strict=True
    )
    assert all(np.array_equal(one, other) for one, other in pairs)
