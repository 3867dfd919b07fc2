"""Spatial correspondence: does a token find its own cells of the detail map among all cells of its tile, or of the whole canvas?

A ridge map from token features to cell features (both standardised) is fitted on one half of the items. On the other half every token's
prediction is compared with the cells on offer, by cosine; the token has found its own where none lies nearer. Chance is one in the number
of cells on offer. Nothing is said about how useful a cell is: a token that finds its own knows what its cells show.
"""

from __future__ import annotations

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


class MapFit:
    """Collects pairs batch by batch: at paper scale the tokens of some hundred pages do not fit in memory, their moments do."""

    def __init__(self) -> None:
        self.pairs = 0
        self.sums: list[Array] = []

    def add(self, tokens: Array, cells: Array) -> None:
        """Tokens [..., D], each with its own cells' mean [..., C]."""
        x, y = tokens.reshape(-1, tokens.shape[-1]), cells.reshape(-1, cells.shape[-1])
        new = [x.sum(0), y.sum(0), x.T @ x, x.T @ y, (y * y).sum(0)]
        self.sums = [old + part for old, part in zip(self.sums, new, strict=True)] if self.pairs else new
        self.pairs += len(x)

    def fitted(self) -> CellMap:
        """The ridge map of all pairs so far, at least one."""
        token_mean, cell_mean, xx, xy, yy = (part / self.pairs for part in self.sums)
        token_scale, cell_scale = _scale(np.diag(xx) - token_mean**2), _scale(yy - cell_mean**2)
        gram = (xx - np.outer(token_mean, token_mean)) / np.outer(token_scale, token_scale)
        shared = (xy - np.outer(token_mean, cell_mean)) / np.outer(token_scale, cell_scale)
        weight: Array = np.linalg.solve(gram + RIDGE * np.eye(len(gram)), shared).astype(np.float64)
        return CellMap(token_mean, token_scale, cell_mean, cell_scale, weight)


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


def retrieval(mapped: CellMap, tokens: Array, cells: Array) -> pd.DataFrame:
    """Token features [B, n, t, D] of B pages of n tiles of t tokens, each token's own cells [B, n, t, C] -> one row a token.

    hit_tile, hit_canvas: its own cells found among those of its tile, of the canvas; chance_tile, chance_canvas.
    """
    predicted, real = mapped(tokens), mapped.standardised(cells)
    pages, tiles, each, channels = real.shape
    columns: dict[str, Array | float] = {}
    for name, sets, size in (("tile", pages * tiles, each), ("canvas", pages, tiles * each)):
        columns[f"hit_{name}"] = own_found(predicted.reshape(sets, size, channels), real.reshape(sets, size, channels)).ravel()
        columns[f"chance_{name}"] = 1 / size
    return pd.DataFrame(columns)


def _scale(variance: Array) -> Array:
    """Standard deviations; 1 where nothing varies."""
    return np.sqrt(np.where(variance > 1e-12, variance, 1.0)).astype(np.float64)


def _unit(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
