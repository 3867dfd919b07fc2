"""Spatial correspondence: does a token find its own cells of the detail map among all cells of its tile, or of the whole canvas?

A ridge map from token features to cell features (both standardised) is fitted on one half of the items. On the other half every token's
prediction is compared with the cells on offer, by cosine; the token has found its own where none lies nearer. Chance is one in the number
of cells on offer. Nothing is said about how useful a cell is: a token that finds its own knows what its cells show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGE = 0.01
"""Weight of the penalty beside standardised features: some directions of tokens and cells hardly vary."""


@dataclass(frozen=True)
class CellMap:
    """Token features [..., D] -> standardised cell features [..., C]."""

    token_mean: Array
    token_scale: Array
    cell_mean: Array
    cell_scale: Array
    weight: Array

    def __call__(self, tokens: Array) -> Array:
        """Predicted cells, standardised, [..., C]."""
        return (tokens - self.token_mean) / self.token_scale @ self.weight

    def standardised(self, cells: Array) -> Array:
        """Real cells [..., C] on the scale of the predictions."""
        return (cells - self.cell_mean) / self.cell_scale


def fit_map(tokens: Array, cells: Array) -> CellMap:
    """The ridge map of pairs: tokens [N, D], each with its own cells' mean [N, C]."""
    token_mean, token_scale = _moments(tokens)
    cell_mean, cell_scale = _moments(cells)
    x, y = (tokens - token_mean) / token_scale, (cells - cell_mean) / cell_scale
    gram = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    return CellMap(token_mean, token_scale, cell_mean, cell_scale, np.linalg.solve(gram, x.T @ y / len(x)))


def own_found(predicted: Array, cells: Array) -> Array:
    """Share of top-1 retrievals that are right, for each of m tokens of B sets: predicted and cells [B, m, C] -> [B, m].

    1 where a token's own cells lie nearest to its prediction, 0 where others lie nearer, 1/n where n cells are equally near, the own
    among them: cells that are all alike give chance, 1/m.
    """
    likeness = _unit(predicted) @ _unit(cells).swapaxes(1, 2)  # [B, m, m]
    own = np.diagonal(likeness, axis1=1, axis2=2)
    best = likeness.max(axis=2)
    ties = np.isclose(likeness, best[..., None], rtol=0, atol=1e-9).sum(axis=2)
    return np.where(np.isclose(own, best, rtol=0, atol=1e-9), 1.0 / ties, 0.0)


@dataclass(frozen=True)
class Pages:
    """B pages of one canvas with n tiles of t tokens: token features [B, n, t, D], each token's own cells [B, n, t, C], which pages serve
    to fit the map (bool [B]), and for each page a frame of its n*t tokens."""

    tokens: Array
    cells: Array
    fitting: NDArray[np.bool_]
    places: Sequence[pd.DataFrame]


def retrieval(parts: Sequence[Pages]) -> pd.DataFrame:
    """The frames of the pages that did not serve to fit, one row a token, with hit_tile and hit_canvas (its own cells found among those of
    its tile, of the canvas) and chance_tile and chance_canvas. Empty where no page is left, or none to fit."""
    fit = [(part.tokens[part.fitting], part.cells[part.fitting]) for part in parts]
    pairs = [np.concatenate([side.reshape(-1, side.shape[-1]) for side in sides]) for sides in zip(*fit, strict=True)]
    if not len(pairs[0]):
        return pd.DataFrame()
    mapped = fit_map(*pairs)
    frames = []
    for part in parts:
        left = np.flatnonzero(~part.fitting)
        if not len(left):
            continue
        predicted, cells = mapped(part.tokens[left]), mapped.standardised(part.cells[left])
        pages, tiles, tokens, _ = cells.shape
        frame = pd.concat([part.places[page] for page in left], ignore_index=True)
        for name, sets in (("tile", (pages * tiles, tokens)), ("canvas", (pages, tiles * tokens))):
            frame[f"hit_{name}"] = own_found(*(values.reshape(*sets, values.shape[-1]) for values in (predicted, cells))).ravel()
            frame[f"chance_{name}"] = 1 / sets[1]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _moments(values: Array) -> tuple[Array, Array]:
    scale = values.std(axis=0)
    return values.mean(axis=0), np.where(scale > 1e-12, scale, 1.0)


def _unit(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
