"""Labels of tower pretraining: each glyph in the cell of what is visible of it, and nothing claimed about slivers."""

from __future__ import annotations

import torch

from fila_lab.pretraining.dense_labels import IGNORE, dense_loss, dense_scores, label_grids

N_CLASSES = 4


def records(*rows: tuple[float, ...]) -> torch.Tensor:
    """Glyphs that can be told from 6.5 px on, and padding."""
    return torch.tensor([[*((*row, 6.5) for row in rows), (-1.0,) * 7]])


def test_a_glyph_labels_the_cell_of_its_centre_and_padding_labels_none() -> None:
    classes, colours = label_grids(records((2, 1, 10.0, 24.0, 6.0, 8.0)), 1.0, torch.zeros(1, 2), 42, 7)
    assert classes.shape == (1, 6, 6)
    assert classes[0, 3, 1] == 3
    assert colours[0, 3, 1] == 2
    assert (classes != 0).sum() == 1


def test_scale_and_origin_move_the_label_with_the_pixels() -> None:
    classes, _ = label_grids(records((0, 0, 20.0, 20.0, 6.0, 6.0)), 2.0, torch.tensor([[14.0, 28.0]]), 42, 7)
    assert classes[0, (40 - 28) // 7, (40 - 14) // 7] == 1


def test_a_truncated_glyph_is_labelled_where_it_is_visible_and_a_sliver_is_ignored() -> None:
    half, _ = label_grids(records((0, 0, 42.0, 20.0, 8.0, 8.0)), 1.0, torch.zeros(1, 2), 42, 7)
    sliver, _ = label_grids(records((0, 0, 45.0, 20.0, 8.0, 8.0)), 1.0, torch.zeros(1, 2), 42, 7)
    outside, _ = label_grids(records((0, 0, 60.0, 20.0, 8.0, 8.0)), 1.0, torch.zeros(1, 2), 42, 7)
    assert half[0, 2, 5] == 1
    assert sliver[0, 2, 5] == IGNORE
    assert (outside == 0).all()


def test_a_glyph_too_small_to_be_told_is_ignored_at_that_scale_alone() -> None:
    glyph = records((0, 0, 20.0, 20.0, 6.0, 8.0))
    assert label_grids(glyph, 1.0, torch.zeros(1, 2), 42, 7)[0][0, 2, 2] == 1
    assert label_grids(glyph, 0.5, torch.zeros(1, 2), 42, 7)[0][0, 1, 1] == IGNORE


def test_loss_is_lowest_for_the_truth_and_scores_count_it() -> None:
    classes, colours = label_grids(records((2, 1, 10.0, 24.0, 6.0, 8.0)), 1.0, torch.zeros(1, 2), 42, 7)
    logits = torch.full((1, N_CLASSES + 1 + 3, 6, 6), -9.0)
    logits[:, 0] = logits[:, N_CLASSES + 1] = 9.0
    blind = dense_loss(logits, classes, colours, N_CLASSES)
    logits[0, :, 3, 1] = -9.0
    logits[0, 3, 3, 1] = logits[0, N_CLASSES + 1 + 2, 3, 1] = 9.0
    assert dense_loss(logits, classes, colours, N_CLASSES) < 1e-3 < blind
    assert dense_scores(logits, classes, colours, N_CLASSES) == {
        "glyphs": 1.0,
        "class_right": 1.0,
        "colour_right": 1.0,
        "background": 35.0,
        "false_alarms": 0.0,
    }
