"""The picture of `fila-lab predict`: the tiles and the overview that a model saw, and below them where each fusion point acted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fila_lab.config import FilaError
from fila_lab.imaging import Geometry, Prepared
from fila_lab.imaging.pictures import draw_seams, grid_pictures, save_picture
from fila_lab.training.injection import FusionPoint

ENLARGE = 6
"""Picture pixels per canvas pixel, for small tiles."""
SEAM, ON_HEAT = (220, 30, 30), (80, 220, 255)
"""Colours of seams: on pictures, and on heat maps."""
TITLE_CHARACTERS = 300
"""What a picture's head is cut to before it is measured."""
GAP, HEAD, LABEL = 12, 24, 32
"""Picture pixels between pictures, of the head, and of the two lines above a heat map."""
ABREAST = 2
"""Heat maps side by side: each is so much smaller than the picture of the tiles."""
PAGE = 0.45
"""How dark the page's ink is on a heat map."""
GRIDS = "the tiles that were seen, grid by grid"
HEADING = "what fusion adds to each token, over the token's own norm (black: nothing; brightest: the most of its map)"


def draw_answer(prepared: Prepared, title: str, heat: Mapping[FusionPoint, np.ndarray], path: Path, cut: bool = True) -> None:
    """The canvas with its tile borders, the overview beside it, and the question with its answer above; below, where tiles are strided or
    the canvas is cut more than once, each grid of tiles. heat: the injection ratios [1 + tiles, g*g] of this image's tokens, overview
    first, one heat map a fusion point. cut: whether anything looks at tiles.

    Raises:
        FilaError: the picture cannot be written.
    """
    factor = max(1, ENLARGE * 84 // max(prepared.geometry.canvas))
    seen = _side_by_side(prepared.geometry, prepared.canvas, prepared.overview, factor, SEAM if cut else None)
    layout = prepared.geometry.layout
    several = cut and (layout.strided or layout.further)
    blocks = {GRIDS: _grid_panels(prepared, factor) if several else []}
    blocks[HEADING] = [_heat_map(prepared, point, values, factor) for point, values in heat.items()]
    found = {head: [panels[at : at + ABREAST] for at in range(0, len(panels), ABREAST)] for head, panels in blocks.items() if panels}
    every = [row for rows in found.values() for row in rows]
    width = max([seen.width, *(sum(panel.width for panel in row) + GAP * (len(row) - 1) for row in every)])
    height = HEAD + seen.height + HEAD * len(found) + sum(GAP + max(panel.height for panel in row) for row in every)
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(seen, (0, HEAD))
    pen = ImageDraw.Draw(sheet)
    _write(pen, (4, 4), title, width - 8, 14)
    top = HEAD + seen.height + GAP
    for head, rows in found.items():
        _write(pen, (4, top), head, width - 8, 12)
        top += HEAD
        for row in rows:
            left = 0
            for panel in row:
                sheet.paste(panel, (left, top))
                left += panel.width + GAP
            top += max(panel.height for panel in row) + GAP
    try:
        save_picture(sheet, path)
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise FilaError(f"--out={path}: the picture cannot be written ({said}); choose another name or folder. {title}") from error


def on_canvas(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """[tiles, g*g] of the tiles' tokens -> [rows, columns] of the canvas' patches, of the first grid; where tiles overlap, or are strided,
    their mean."""
    grid, layout = geometry.grid, geometry.layout
    columns, rows = (side // geometry.patch for side in geometry.canvas)
    first = values[: layout.rows * layout.cols].reshape(-1, grid, grid)
    if layout.strided:
        return np.asarray(first.mean(axis=0).repeat(layout.rows, 0).repeat(layout.cols, 1))
    total, times = np.zeros((rows, columns)), np.zeros((rows, columns))
    for number, tile in enumerate(first):
        y, x = layout.starts_y[number // geometry.cols], layout.starts_x[number % geometry.cols]
        total[y : y + grid, x : x + grid] += tile
        times[y : y + grid, x : x + grid] += 1
    return total / times


def _grid_panels(prepared: Prepared, factor: int) -> list[Image.Image]:
    """Each grid of tiles as it is cut, as large as a heat map's canvas, with its name above."""
    panels = []
    for name, picture in grid_pictures(prepared, SEAM):
        sides = zip(prepared.geometry.canvas, picture.size, strict=True)
        drawn = _scaled(np.asarray(picture), factor / ABREAST * min(whole / own for whole, own in sides))
        panel = Image.new("RGB", (drawn.width, LABEL + drawn.height), "white")
        panel.paste(drawn, (0, LABEL))
        _write(ImageDraw.Draw(panel), (4, LABEL // 2), name, panel.width - 8, 11)
        panels.append(panel)
    return panels


def _heat_map(prepared: Prepared, point: FusionPoint, values: np.ndarray, factor: int) -> Image.Image:
    """One fusion point's: the page in colours of the ratio, bright where much was added, with what it is and its numbers above."""
    geometry = prepared.geometry
    canvas, overview = on_canvas(values[1:], geometry), values[0].reshape(geometry.grid, geometry.grid)
    most = max(float(values.max()), 1e-12)
    whole, small = _coloured(prepared.canvas, canvas / most), _coloured(prepared.overview, overview / most)
    drawn = _side_by_side(geometry, whole, small, factor / ABREAST, ON_HEAT)
    lines = f"stage {point[0]} after layer {point[1]}", f"mean {float(canvas.mean()):.3g}, at most {float(values.max()):.3g}"
    panel = Image.new("RGB", (drawn.width, LABEL + drawn.height), "white")
    panel.paste(drawn, (0, LABEL))
    pen = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        _write(pen, (4, 2 + 14 * number), line, panel.width - 8, 11)
    return panel


def _coloured(page: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A page [H, W, 3] in the colours of shares [rows, columns] between 0 and 1, a patch each; its ink stays to be seen."""
    from matplotlib import colormaps

    colours = colormaps["inferno"](shares)[..., :3]
    side = page.shape[0] // shares.shape[0]
    spread = colours.repeat(side, 0).repeat(side, 1)
    ink = page.mean(-1, keepdims=True) / 255
    return np.asarray(np.rint(255 * spread * (1 - PAGE + PAGE * ink)), np.uint8)


def _side_by_side(
    geometry: Geometry, canvas: np.ndarray, overview: np.ndarray, scale: float, seam: tuple[int, int, int] | None
) -> Image.Image:
    """The canvas with its seams (null: without), and the overview, `scale` picture pixels a pixel."""
    first, second = (_scaled(pixels, scale) for pixels in (canvas, overview))
    if seam is not None:
        draw_seams(first, geometry, scale, seam, width=2)
    sheet = Image.new("RGB", (first.width + GAP + second.width, max(first.height, second.height)), "white")
    sheet.paste(first, (0, 0))
    sheet.paste(second, (first.width + GAP, 0))
    return sheet


def _scaled(pixels: np.ndarray, scale: float) -> Image.Image:
    picture = Image.fromarray(pixels)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX)


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width: int, size: int) -> None:
    """One line, cut to a width."""
    line = " ".join(text.split())[:TITLE_CHARACTERS]
    cut = len(line) < len(" ".join(text.split()))
    while line and pen.textlength(line + "..." * cut, font_size=size) > width:
        line, cut = line[:-1], True
    pen.text(at, line + "..." * cut, fill="black", font_size=size)
