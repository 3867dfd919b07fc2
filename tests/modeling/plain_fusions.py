"""Every fusion stated a second time, as plain loops over tiles, tokens and cells in float64.

Written from the docstrings of the strategies and the papers they name. Nothing of `fila_lab` is used: parameters come by name, as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Scene:
    """Tokens [N, g*g, D]; maps of the stage and of coarser ones, each [N, C, g*w, g*w], N = images * (1 + rows*cols), overview first."""

    tokens: Array
    maps: Sequence[Array]
    grid: int
    rows: int
    cols: int

    @property
    def tiles(self) -> int:
        """Of an image, the overview among them."""
        return 1 + self.rows * self.cols

    def cells(self, tile: int, row: int, col: int, stage: int = 0) -> list[Array]:
        """The cells [C] of a token's window, in raster order."""
        detail = self.maps[stage]
        w = detail.shape[-1] // self.grid
        return [detail[tile, :, row * w + y, col * w + x] for y in range(w) for x in range(w)]

    def mean(self, tile: int, token: int) -> Array:
        """The mean cell [C] of a token's window."""
        return sum(self.cells(tile, *divmod(token, self.grid))) / len(self.cells(tile, 0, 0))  # type: ignore[return-value]


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def normalised(x: Array, epsilon: float = 1e-5) -> Array:
    """Mean 0 and variance 1 over the channels."""
    return (x - x.mean()) / math.sqrt(float(((x - x.mean()) ** 2).mean()) + epsilon)


def unit(x: Array) -> Array:
    """Root mean square 1 over the channels."""
    return x / math.sqrt(float((x**2).mean()) + 1e-6)


def linear(weights: Weights, name: str, x: Array) -> Array:
    return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", np.zeros(1))


def softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def attention(query: Array, keys: Sequence[Array], values: Sequence[Array], heads: int, bias: Callable[[int, int], float]) -> Array:
    """One query [H] over M keys and values [H], head by head; bias(head, m) is added to a score."""
    width = len(query) // heads
    read = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = [float(query[part] @ key[part]) / math.sqrt(width) + bias(head, m) for m, key in enumerate(keys)]
        read.append(sum(share * value[part] for share, value in zip(softmax(scores), values, strict=True)))
    return np.concatenate(read)


# What a token reads -------------------------------------------------------------------------------------------------------


def pool(scene: Scene, weights: Weights, heads: int, tile: int, token: int) -> Array:
    return normalised(scene.mean(tile, token))


def unfold(scene: Scene, weights: Weights, heads: int, tile: int, token: int) -> Array:
    cells = scene.cells(tile, *divmod(token, scene.grid))
    return normalised(np.array([cell[channel] for channel in range(len(cells[0])) for cell in cells]))


def over_cells(scene: Scene, weights: Weights, heads: int, token: Array, cells: Sequence[tuple[int, Array]]) -> Array:
    """A token over single cells, each with the number of its place."""
    placed = [unit(cell) + weights["aggregate.position"][place] for place, cell in cells]
    query = linear(weights, "aggregate.query", normalised(token))
    keys = [linear(weights, "aggregate.key", cell) for cell in placed]
    values = [linear(weights, "aggregate.value", cell) for cell in placed]
    return attention(query, keys, values, heads, lambda head, m: 0.0)


def attend(scene: Scene, weights: Weights, heads: int, tile: int, token: int) -> Array:
    cells = scene.cells(tile, *divmod(token, scene.grid))
    if len(cells) == 1:
        return linear(weights, "aggregate.value", unit(cells[0]))
    return over_cells(scene, weights, heads, scene.tokens[tile, token], list(enumerate(cells)))


def attend_neighbours(scene: Scene, weights: Weights, heads: int, tile: int, token: int, alone: bool = False) -> Array:
    """Its own and the eight windows around it: on the canvas across tiles (`alone`: within its own), on the overview within it."""
    g, overview = scene.grid, tile % scene.tiles == 0
    first = tile - tile % scene.tiles + (not overview)
    down, across = (0, 0) if overview else divmod(tile - first, scene.cols)
    rows, cols = (g, g) if overview else (scene.rows * g, scene.cols * g)
    row, col = down * g + token // g, across * g + token % g
    seen = []
    for step in range(9):
        y, x = row + step // 3 - 1, col + step % 3 - 1
        if 0 <= y < rows and 0 <= x < cols:
            there = first + (0 if overview else y // g * scene.cols + x // g)
            if alone and there != tile:
                continue
            cells = scene.cells(there, y % g, x % g)
            seen += [(step * len(cells) + place, cell) for place, cell in enumerate(cells)]
    return over_cells(scene, weights, heads, scene.tokens[tile, token], seen)


def placed(weights: Weights, name: str, heads: int, asking: Array, asked: Sequence[Array], places: Sequence[int]) -> Array:
    """Attention with both sides normalised and a learned bias for each head and place."""
    query = linear(weights, f"{name}.query", normalised(asking))
    keys = [linear(weights, f"{name}.key", normalised(x)) for x in asked]
    values = [linear(weights, f"{name}.value", normalised(x)) for x in asked]
    return attention(query, keys, values, heads, lambda head, m: float(weights[f"{name}.position"][head, places[m]]))


def offset(here: tuple[int, int], there: tuple[int, int], reach: int) -> int:
    return (there[0] - here[0] + reach) * (2 * reach + 1) + there[1] - here[1] + reach


def inside_tile(grid: int, token: int) -> list[int]:
    """The place of every token of a tile as seen from one of them."""
    return [offset(divmod(token, grid), divmod(other, grid), grid - 1) for other in range(grid * grid)]


def attend_tile(scene: Scene, weights: Weights, heads: int, tile: int, token: int) -> Array:
    means = [scene.mean(tile, other) for other in range(scene.grid**2)]
    return placed(weights, "aggregate.attention", heads, scene.tokens[tile, token], means, inside_tile(scene.grid, token))


def attend_tokens(scene: Scene, weights: Weights, heads: int, tile: int, token: int, alone: bool = False) -> Array:
    """The tokens of its own tile and (unless `alone`) of the up to eight around it; the overview's: all tokens of the image."""
    g = scene.grid
    first = tile - tile % scene.tiles
    asked, places = [], []
    for other in [tile - first] if alone else range(scene.tiles):
        for number in range(g * g):
            y, x = divmod(number, g)
            if tile == first:  # the overview: canvas tokens brought to its own grid
                if other:
                    down, across = divmod(other - 1, scene.cols)
                    y, x = (down * g + y) // scene.rows, (across * g + x) // scene.cols
                place = (4 * g - 1) ** 2 + offset(divmod(token, g), (y, x), g - 1)
            else:
                if not other:
                    continue
                (down, across), (own_down, own_across) = divmod(other - 1, scene.cols), divmod(tile - first - 1, scene.cols)
                if max(abs(down - own_down), abs(across - own_across)) > 1:
                    continue
                here = (own_down * g + token // g, own_across * g + token % g)
                place = offset(here, (down * g + y, across * g + x), 2 * g - 1)
            asked.append(scene.tokens[first + other, number])
            places.append(place)
    return placed(weights, "aggregate.attention", heads, scene.tokens[tile, token], asked, places)


AGGREGATES = {
    "pool": pool,
    "unfold": unfold,
    "attend": attend,
    "attend_tile": attend_tile,
    "attend_neighbours": attend_neighbours,
    "attend_tokens": attend_tokens,
    "attend_neighbours_alone": partial(attend_neighbours, alone=True),
    "attend_tokens_alone": partial(attend_tokens, alone=True),
}


# Whole strategies: (scene, weights, heads) -> tokens [N, g*g, D], and the changed map where there is one ------------------------------


def factorised(aggregate: str, combine: str, gate: bool) -> Callable[[Scene, Weights, int], tuple[Array, Array | None]]:
    """tokens + [gate *] out(gelu(mix(what was read)))."""

    def fused(scene: Scene, weights: Weights, heads: int) -> tuple[Array, Array | None]:
        out = scene.tokens.copy()
        for tile, token in np.ndindex(scene.tokens.shape[:2]):
            read = AGGREGATES[aggregate](scene, weights, heads, tile, token)
            joint = np.concatenate([normalised(scene.tokens[tile, token]), read])
            change = linear(weights, "out", gelu(linear(weights, "mix", joint if combine == "concat" else read)))
            out[tile, token] += change * sigmoid(linear(weights, "gate", joint)) if gate else change
        return out, None

    return fused


def llava_hr(gate: bool) -> Callable[[Scene, Weights, int], tuple[Array, Array | None]]:
    """tokens + scale * (local + tanh(gate) * slow), one gate a tile."""

    def fused(scene: Scene, weights: Weights, heads: int) -> tuple[Array, Array | None]:
        out, g = scene.tokens.copy(), scene.grid
        kernel = weights["local_in.weight"]  # [D, 1, K, K]
        reach = kernel.shape[-1] // 2
        for tile in range(len(out)):
            usual = [normalised(token) for token in scene.tokens[tile]]
            local, slow = [], []
            for token in range(g * g):
                row, col = divmod(token, g)
                total = weights["local_in.bias"].copy()
                for y in range(max(0, row - reach), min(g, row + reach + 1)):
                    for x in range(max(0, col - reach), min(g, col + reach + 1)):
                        total += kernel[:, 0, y - row + reach, x - col + reach] * usual[y * g + x]
                local.append(linear(weights, "local_out", gelu(total)))
                cells = [gelu(linear(weights, "slow_in", unit(cell))) for cell in scene.cells(tile, row, col)]
                slow.append(linear(weights, "slow_out", sum(cells) / len(cells)))  # type: ignore[arg-type]
            share = 1.0
            if gate:
                joint = sum(np.concatenate([u + fine, s]) for u, fine, s in zip(usual, local, slow, strict=True)) / (g * g)
                share = float(np.tanh(linear(weights, "gate.2", gelu(linear(weights, "gate.0", joint))))[0])  # type: ignore[arg-type]
            for token in range(g * g):
                out[tile, token] += weights["scale.weight"] * (local[token] + share * slow[token])
        return out, None

    return fused


def mini_gemini(scene: Scene, weights: Weights, heads: int) -> tuple[Array, Array | None]:
    """tokens + value(norm(read)): one head over the window's cells, which carry the channels of the coarser stages above them."""
    out, g = scene.tokens.copy(), scene.grid
    side = scene.maps[0].shape[-1] // g
    for tile, token in np.ndindex(out.shape[:2]):
        row, col = divmod(token, g)
        cells = []
        for y in range(side):
            for x in range(side):
                parts = []
                for stage, detail in enumerate(scene.maps):
                    w = detail.shape[-1] // g
                    parts.append(scene.cells(tile, row, col, stage)[y * w // side * w + x * w // side])
                cells.append(normalised(np.concatenate(parts)))
        shares = [1.0]
        if len(cells) > 1:
            usual = normalised(scene.tokens[tile, token]) * weights["query.0.weight"] + weights["query.0.bias"]
            query = linear(weights, "query.1", usual)
            keys = [linear(weights, "key", cell * weights["key_gain"]) for cell in cells]
            shares = softmax([float(query @ key) / math.sqrt(len(query)) for key in keys])
        values = [linear(weights, "value", cell * weights["value_gain"] + weights["value_bias"]) for cell in cells]
        out[tile, token] += sum(share * value for share, value in zip(shares, values, strict=True))
    return out, None


def bidirectional(scene: Scene, weights: Weights, heads: int) -> tuple[Array, Array | None]:
    """cells + |cells| * back(gelu(mix(attend(cells -> tokens)))), then tokens + out(gelu(mix(attend(tokens -> cells))))."""
    out, detail, g = scene.tokens.copy(), scene.maps[0].copy(), scene.grid
    w = detail.shape[-1] // g
    for tile in range(len(out)):
        means = [scene.mean(tile, token) for token in range(g * g)]
        tokens = list(scene.tokens[tile])
        changed = []
        for token, mean in enumerate(means):
            read = placed(weights, "to_tokens", heads, mean, tokens, inside_tile(g, token))
            size = math.sqrt(float((mean**2).mean()) + 1e-6)
            step = size * linear(weights, "back", gelu(linear(weights, "cell_mix", read)))
            changed.append(mean + step)
            row, col = divmod(token, g)
            detail[tile, :, row * w : (row + 1) * w, col * w : (col + 1) * w] += step[:, None, None]
        for token in range(g * g):
            read = placed(weights, "to_cells", heads, tokens[token], changed, inside_tile(g, token))
            out[tile, token] += linear(weights, "out", gelu(linear(weights, "token_mix", read)))
    return out, detail
