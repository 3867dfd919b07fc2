"""Which canvas an image goes on: the named rules, each a function (width, height, canvases) -> canvas. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fila_lab.config.base import ConfigError, FilaError, did_you_mean

Canvas = tuple[int, int]


def llava_next(width: int, height: int, canvases: Sequence[Canvas]) -> Canvas:
    """Greatest effective resolution, then least waste, ties to list order (transformers' `select_best_resolution`, there in (H, W) order).

    An image so long that every canvas would leave it 0 px across has no answer there: then the canvas with the greatest scale wins.
    """
    best: Canvas | None = None
    best_effective, least_waste = 0, float("inf")
    for canvas in canvases:
        scale = min(canvas[0] / width, canvas[1] / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        waste = canvas[0] * canvas[1] - effective
        if effective > best_effective or (effective == best_effective and waste < least_waste and effective > 0):
            best, best_effective, least_waste = canvas, effective, waste
    if best is None:
        best = max(canvases, key=lambda canvas: min(canvas[0] / width, canvas[1] / height))
    return best


def internvl(width: int, height: int, canvases: Sequence[Canvas]) -> Canvas:
    """The canvas whose width / height is nearest to the image's; of equally near ones the largest of which the image's pixels fill more
    than half, else the smallest.

    The rule of InternVL 1.5's dynamic preprocessing (arXiv 2404.16821; `find_closest_aspect_ratio` of its released code), there over all
    grids of up to 12 tiles in ascending order of their number; grids of equal number come here by ascending width. How large the image is
    matters among equally near canvases only: a small image whose aspect is 4:3 gets 12 tiles.
    """
    ordered = sorted(canvases, key=lambda canvas: (canvas[0] * canvas[1], canvas[0]))
    best, nearest = ordered[0], float("inf")
    for canvas in ordered:
        distance = abs(width / height - canvas[0] / canvas[1])
        if distance < nearest or (distance == nearest and 2 * width * height > canvas[0] * canvas[1]):
            best, nearest = canvas, distance
    return best


RULES: dict[str, Callable[[int, int, Sequence[Canvas]], Canvas]] = {"llava_next": llava_next, "internvl": internvl}


def choose_canvas(width: int, height: int, canvases: Sequence[Canvas], rule: str = "llava_next") -> Canvas:
    """The canvas (width, height) in px for an image of `width` x `height` px.

    Raises FilaError for an image without pixels, ConfigError for an empty list or an unknown rule.
    """
    if width < 1 or height < 1:
        raise FilaError(f"image size {width}x{height} has no pixels; give an image of at least 1x1")
    if not canvases:
        raise ConfigError("geometry.canvases is empty; list at least one (width, height)")
    if rule not in RULES:
        raise ConfigError(f"geometry.canvas_rule: unknown rule {rule!r}{did_you_mean(rule, RULES)}; known rules are {', '.join(RULES)}")
    return RULES[rule](width, height, [(int(w), int(h)) for w, h in canvases])


def grids_up_to(max_tiles: int, tile: int) -> tuple[Canvas, ...]:
    """Every canvas of cols x rows tiles with at most `max_tiles` of them, (width, height) in px, by ascending number of tiles."""
    grids = [(cols, rows) for cols in range(1, max_tiles + 1) for rows in range(1, max_tiles // cols + 1)]
    return tuple((cols * tile, rows * tile) for cols, rows in sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0])))


def second_canvas(canvas: Canvas, tile: int, tiles: tuple[int, int], exclusion: str) -> Canvas | None:
    """The canvas, (width, height) in px, of a second grid beside that of `canvas`; None where every grid of `tiles` (least, most) tiles is
    excluded. As `SecondGridConfig` says."""
    cols, rows = (side // tile for side in canvas)
    excluded = {"both": all, "either": any, "none": lambda divides: False}[exclusion]
    grids = [
        grid
        for grid in grids_up_to(tiles[1], tile)
        if grid[0] * grid[1] >= tiles[0] * tile**2 and not excluded((cols % (grid[0] // tile) == 0, rows % (grid[1] // tile) == 0))
    ]
    return internvl(*canvas, grids) if grids else None
