"""The fusions without a detail map stated a second time, as `plain_fusions` states the others: plain loops, nothing of `fila_lab`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from plain_fusions import Array, Scene, Weights, attention, gelu, linear, normalised, offset

Change = tuple[Array, Array | None]


def fields(scene: Scene, reach: str) -> Iterator[tuple[int, int, dict[tuple[int, int], tuple[int, int]]]]:
    """Height and width in tokens of each map by itself, and (row, column) -> (tile, token): overviews, canvases, or single tiles."""
    g = scene.grid
    for image in range(len(scene.tokens) // scene.tiles):
        first = image * scene.tiles
        alone = range(scene.tiles) if reach == "tile" else range(1)
        for tile in alone:
            yield g, g, {(y, x): (first + tile, y * g + x) for y in range(g) for x in range(g)}
        if reach == "canvas":
            rows, cols = scene.rows * g, scene.cols * g
            yield (
                rows,
                cols,
                {(y, x): (first + 1 + y // g * scene.cols + x // g, y % g * g + x % g) for y in range(rows) for x in range(cols)},
            )


def slice_restore(parts: str = "both", pooled: int = 2, reach: str = "canvas") -> Callable[[Scene, Weights, int], Change]:
    """tokens + scale * (3x3 depth-wise convolution + enlarged attention among true means of a smaller map)."""

    def fused(scene: Scene, weights: Weights, heads: int) -> Change:
        out, g = scene.tokens.copy(), scene.grid
        for height, width, where in fields(scene, reach):
            usual = {place: normalised(scene.tokens[token]) for place, token in where.items()}
            change = {place: np.zeros_like(value) for place, value in usual.items()}
            if parts != "pooled":
                for (y, x), total in change.items():
                    total += weights["local_in.bias"]
                    for down in (-1, 0, 1):
                        for across in (-1, 0, 1):
                            if (y + down, x + across) in usual:
                                total += weights["local_in.weight"][:, 0, 1 + down, 1 + across] * usual[y + down, x + across]
            if parts != "local":
                small = {}
                rows, cols = height // g * pooled, width // g * pooled
                for i in range(rows):
                    for j in range(cols):
                        shares = {(y, x): shared(i, y, g / pooled) * shared(j, x, g / pooled) for y, x in usual}
                        small[i, j] = sum(share * usual[place] for place, share in shares.items()) / sum(shares.values())
                cells = [normalised(cell) for cell in small.values()]
                keys, values = ([linear(weights, f"attention.{name}", cell) for cell in cells] for name in ("key", "value"))
                gist = {
                    place: linear(
                        weights, "attention_out", attention(linear(weights, "attention.query", cell), keys, values, heads, lambda h, m: 0.0)
                    )
                    for place, cell in zip(small, cells, strict=True)
                }
                for (y, x), total in change.items():
                    for i, down in between(y, pooled / g, rows):
                        for j, across in between(x, pooled / g, cols):
                            total += down * across * gist[i, j]
            for place, token in where.items():
                out[token] += weights["scale.weight"] * change[place]
        return out, None

    return fused


def shared(cell: int, token: int, size: float) -> float:
    """The length that a token has in common with the span of a cell of `size` tokens."""
    return max(0.0, min(token + 1, (cell + 1) * size) - max(token, cell * size))


def between(token: int, scale: float, cells: int) -> list[tuple[int, float]]:
    """The two nearest of `cells` centres around a token's, and their shares; beyond the last centre the last."""
    place = max(0.0, (token + 0.5) * scale - 0.5)
    low = min(int(place), cells - 1)
    return [(low, 1 - (place - low)), (min(low + 1, cells - 1), place - low)]


def cuts(tiles: int, grid: int, window: int, reach: str) -> list[range]:
    """The windows along an axis: one about every seam (and about the edges), what is left between two of them cut from the first on."""
    borders = []
    for tile in range(tiles):
        start = tile * grid if reach == "tile" else tile * grid - window // 2
        end = start + grid
        borders += [range(max(0, at), min(end, at + window)) for at in range(start, end, window)]
    if reach == "canvas":
        borders.append(range(tiles * grid - window // 2, tiles * grid))
    return borders


def shifted_window(window: int = 2, reach: str = "canvas") -> Callable[[Scene, Weights, int], Change]:
    """tokens + out(gelu(mix(h + attended(attention of h within its window)))), h = enter(tokens); the overview stays."""

    def fused(scene: Scene, weights: Weights, heads: int) -> Change:
        out, g = scene.tokens.copy(), scene.grid
        rows, cols = (cuts(tiles, g, window, reach) for tiles in (scene.rows, scene.cols))
        for height, _, where in list(fields(scene, "canvas"))[1::2]:
            assert height == scene.rows * g
            inner = {place: linear(weights, "enter", normalised(scene.tokens[token])) for place, token in where.items()}
            query, key, value = (
                {place: linear(weights, name, normalised(x)) for place, x in inner.items()} for name in ("query", "key", "value")
            )
            for down in rows:
                for across in cols:
                    inside = [(y, x) for y in down for x in across]
                    for here in inside:
                        places = [offset(here, there, window - 1) for there in inside]
                        read = attention(
                            query[here],
                            [key[there] for there in inside],
                            [value[there] for there in inside],
                            heads,
                            lambda head, m, places=places: float(weights["position"][head, places[m]]),
                        )
                        joint = inner[here] + linear(weights, "attended", read)
                        out[where[here]] += linear(weights, "out", gelu(linear(weights, "mix", normalised(joint))))
        return out, None

    return fused


def tile_summary(reach: str = "canvas") -> Callable[[Scene, Weights, int], Change]:
    """tokens + out(attention of the tokens over their tile's summaries), which have read those of the image's tiles."""

    def fused(scene: Scene, weights: Weights, heads: int) -> Change:
        out = scene.tokens.copy()
        registers = weights["registers"]
        for first in range(0, len(out), scene.tiles):
            own: list[tuple[int, Array]] = []
            for tile in range(scene.tiles):
                usual = [normalised(token) for token in scene.tokens[first + tile]]
                keys, values = ([linear(weights, name, token) for token in usual] for name in ("key", "value"))
                own += [(tile, r + attention(normalised(r), keys, values, heads, lambda head, m: 0.0)) for r in registers]
            known: list[list[Array]] = [[] for _ in range(scene.tiles)]
            for tile, summary in own:
                seen = [(t, s) for t, s in own if t == tile or (reach == "canvas" and (tile == 0 or t > 0))]
                directions = [direction(tile, other, scene.cols) for other, _ in seen]
                keys, values = ([linear(weights, f"exchange.{name}", normalised(s)) for _, s in seen] for name in ("key", "value"))
                read = attention(
                    linear(weights, "exchange.query", normalised(summary)),
                    keys,
                    values,
                    heads,
                    lambda head, m, directions=directions: float(weights["exchange.position"][head, directions[m]]),
                )
                known[tile].append(summary + read)
            for tile in range(scene.tiles):
                keys, values = ([linear(weights, f"read.{name}", normalised(s)) for s in known[tile]] for name in ("key", "value"))
                for number, token in enumerate(scene.tokens[first + tile]):
                    query = linear(weights, "read.query", normalised(token))
                    out[first + tile, number] += linear(weights, "out", attention(query, keys, values, heads, lambda head, m: 0.0))
        return out, None

    return fused


def direction(tile: int, other: int, cols: int) -> int:
    """Of the nine directions, from above left in raster order, that in which the other tile lies; from the overview: a tile, or itself."""
    if tile == 0:
        return 9 if other else 10
    if other == 0:
        return -1  # never read
    (row, col), (other_row, other_col) = divmod(tile - 1, cols), divmod(other - 1, cols)
    return int(3 * (1 + np.sign(other_row - row)) + 1 + np.sign(other_col - col))
