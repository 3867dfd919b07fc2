"""The retrieval score: right where cells follow from tokens, chance where nothing does, and nothing in between by accident."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fila_lab.evaluation.alignment import MapFit, own_found, retrieval


def pages(own: str, seed: int = 0, images: int = 40, tiles: int = 2, tokens: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Cells that are a linear function of tokens (`right`), of the next token's (`shifted`), of nothing (`unrelated`), or all alike."""
    draw = np.random.default_rng(seed)
    states = draw.normal(size=(images, tiles, tokens, 12))
    cells = states @ np.random.default_rng(99).normal(size=(12, 6)) + 0.05 * draw.normal(size=(images, tiles, tokens, 6))
    if own == "shifted":
        cells = np.roll(cells, 1, axis=2)
    elif own == "unrelated":
        cells = draw.normal(size=cells.shape)
    elif own == "alike":
        cells = np.ones_like(cells)
    return states, cells


def scored(*sets: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    """Fitted on the first half of every set's pages, scored on the second."""
    fit = MapFit()
    for states, cells in sets:
        fit.add(states[:20], cells[:20])
    return pd.concat([retrieval(fit.fitted(), states[20:], cells[20:]) for states, cells in sets])


@pytest.mark.parametrize(("own", "tile", "canvas"), [("right", 1.0, 1.0), ("unrelated", 1 / 9, 1 / 18), ("alike", 1 / 9, 1 / 18)])
def test_own_cells_are_found_where_they_follow_from_the_token_and_by_chance_elsewhere(own: str, tile: float, canvas: float) -> None:
    frame = scored(pages(own))
    assert len(frame) == 20 * 18
    slack = 0 if own == "alike" else 0.05
    assert frame["hit_tile"].mean() == pytest.approx(tile, abs=slack + 1e-9)
    assert frame["hit_canvas"].mean() == pytest.approx(canvas, abs=slack + 1e-9)
    assert (frame["chance_tile"] == 1 / 9).all()
    assert (frame["chance_canvas"] == 1 / 18).all()


def test_a_map_moved_by_one_cell_is_not_found() -> None:
    """Independent tokens say nothing of their neighbours' cells."""
    assert scored(pages("shifted"))["hit_tile"].mean() < 1 / 9 + 0.05


def test_canvases_share_one_map_and_keep_their_own_chance() -> None:
    frame = scored(pages("right", 0), pages("right", 1, tiles=4))
    assert sorted(frame["chance_canvas"].unique()) == pytest.approx([1 / 36, 1 / 18])
    assert frame["hit_canvas"].mean() > 0.95


def test_rows_come_page_by_page_and_tile_by_tile() -> None:
    states, cells = pages("right")
    spoiled = cells[20:].copy()
    spoiled[3, 1, 4], spoiled[3, 1, 5] = cells[23, 1, 5], cells[23, 1, 4]  # two cells of one tile change places
    fit = MapFit()
    fit.add(states[:20], cells[:20])
    right = retrieval(fit.fitted(), states[20:], spoiled)["hit_tile"].to_numpy().reshape(20, 2, 9)
    assert right[3, 1, 4] == right[3, 1, 5] == 0
    assert right.sum() >= 20 * 18 - 2 - 10


def test_retrieval_by_hand() -> None:
    cells = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    predicted = np.array([[[3.0, 0.1], [0.1, 1.0], [0.0, 2.0]]])
    assert own_found(predicted, cells).tolist() == [[0.5, 1.0, 0.0]]  # two equal cells share; the last predicts another's


def test_the_map_is_ridge_regression_of_standardised_features() -> None:
    draw = np.random.default_rng(3)
    tokens, cells = draw.normal(2, 3, (500, 4)), draw.normal(size=(500, 2))
    cells += tokens[:, :2]
    fit = MapFit()
    for part in range(0, 500, 100):
        fit.add(tokens[part : part + 100], cells[part : part + 100])
    mapped = fit.fitted()
    x, y = (tokens - tokens.mean(0)) / tokens.std(0), (cells - cells.mean(0)) / cells.std(0)
    residual = y - mapped(tokens)
    np.testing.assert_allclose(x.T @ residual / len(x), 0.01 * mapped.weight, atol=1e-10)  # the normal equations
    np.testing.assert_allclose(mapped.standardised(cells), y)


def test_own_found_against_a_loop_over_tokens() -> None:
    draw = np.random.default_rng(5)
    predicted, cells = draw.normal(size=(3, 7, 4)), draw.normal(size=(3, 7, 4))
    cells *= draw.uniform(0.1, 9, (3, 7, 1))  # length does not count, direction does
    cells[1, 2] = 5 * cells[1, 6]
    found = own_found(predicted, cells)
    for page in range(3):
        for token in range(7):
            likeness = [float(p @ predicted[page, token]) / float(np.linalg.norm(p)) for p in cells[page]]
            nearest = [cell for cell in range(7) if likeness[cell] > max(likeness) - 1e-9]
            assert found[page, token] == (1 / len(nearest) if token in nearest else 0)
