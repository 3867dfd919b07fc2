"""Pages for the towers: drawn from seed and index alone, with true labels."""

from __future__ import annotations

import numpy as np

from fila_lab.config import load_preset, resolve_run
from fila_lab.config.seam_words import SHAPES
from fila_lab.data.seam.truth import CLASSES as TRUTH_CLASSES
from fila_lab.pretraining.pages import CLASSES, dense_pages

MINI = load_preset("mini")


def test_dense_pages_are_a_function_of_seed_and_index_and_know_their_glyphs() -> None:
    few, more = dense_pages(MINI, "train", 5, 3, 1), dense_pages(MINI, "train", 10, 3, 1)
    assert np.array_equal(few.canvas, more.canvas[:5])
    assert sorted(more.detail) == [2, 3, 4]
    assert {cells: pages.shape[1] for cells, (pages, _) in more.detail.items()} == {2: 128, 3: 192, 4: 256}
    glyphs = more.records[more.records[..., 0] >= 0]
    assert len(glyphs) > 50
    assert (glyphs[:, 0] < len(CLASSES)).all()
    assert (glyphs[:, 2:4] >= 0).all()
    assert (glyphs[:, 2:4] <= 84).all()


def test_dense_pages_show_shapes_where_tasks_need_them() -> None:
    shapes = [TRUTH_CLASSES.index(name) for name in SHAPES]
    for tasks, needed in (({"data.seam.tasks": {"reading": 0.85, "coarse": 0.15}}, False), ({}, True)):
        pages = dense_pages(resolve_run("mini", tasks), "train", 5, 0, 1)
        assert bool(np.isin(pages.records[..., 0], shapes).any()) is needed
