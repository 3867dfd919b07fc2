"""Drawing at page resolution: lines of text, plates that carry them, panels, and page backgrounds, all as uint8 arrays at whole pixels.

A block is an opaque plate with its text or panel; it is drawn once and pasted, so the same target has identical pixels wherever it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fila_lab.data.seam import content

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """A glyph or panel of a block: its character or layout, colour, role, and ink box (x0, y0, x1, y1) in block px, half-open."""

    name: str
    colour: str
    role: str  # one of `fila_lab.data.seam.truth.ROLES`
    box: Box


@dataclass(frozen=True)
class Line:
    """A line of text: coverage uint8 [h, w] cropped to its ink, and each character's ink box."""

    coverage: np.ndarray
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Block:
    """An opaque plate: rgb uint8 [h, w, 3]; ink bool [h, w] of the part that is asked for (the code or the panel, not the key).

    between: (axis, first, last) where the evidence has two parts, and the seam runs between them: through block px first to last.
    The ink is then that of both parts.
    """

    rgb: np.ndarray
    ink: np.ndarray
    marks: tuple[Mark, ...]
    between: tuple[int, int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in page pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@cache
def cap_ratio(path: Path) -> float:
    """Cap height of a font over its nominal size."""
    box = ImageFont.truetype(str(path), 200, layout_engine=ImageFont.Layout.BASIC).getbbox("H", anchor="ls")
    return (box[3] - box[1]) / 200


@lru_cache(maxsize=1024)
def _font(path: Path, cap: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), cap / cap_ratio(path), layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=32768)
def _glyph(path: Path, cap: int, character: str) -> tuple[np.ndarray, int, int, int]:
    """Coverage uint8 [h, w] cropped to the ink, its left and top from the pen (top is negative above the baseline), and the advance."""
    font = _font(path, cap)
    x0, y0, x1, y1 = (int(v) for v in font.getbbox(character, anchor="ls"))
    image = Image.new("L", (x1 - x0 + 4, y1 - y0 + 4))
    ImageDraw.Draw(image).text((2 - x0, 2 - y0), character, fill=255, font=font, anchor="ls")
    bounds = image.getbbox()
    if bounds is None:
        raise ValueError(f"font {path.name} draws nothing for {character!r}")
    mask = np.asarray(image.crop(bounds))
    return mask, x0 - 2 + bounds[0], y0 - 2 + bounds[1], round(font.getlength(character))


@lru_cache(maxsize=4096)
def draw_text(text: str, path: Path, cap: int, pitch: int = 0) -> Line:
    """`text` with capitals `cap` page pixels high, every character at a whole pixel; `pitch`: narrower characters are spaced out to it,
    page pixels."""
    pen, placed = 0, []
    for character in text:
        mask, left, top, advance = _glyph(path, cap, character)
        room = max(0, pitch - advance)
        placed.append((mask, pen + room // 2 + left, top))
        pen += advance + room
    left, top = min(x for _, x, _ in placed), min(y for _, _, y in placed)
    right, bottom = max(x + m.shape[1] for m, x, _ in placed), max(y + m.shape[0] for m, _, y in placed)
    coverage = np.zeros((bottom - top, right - left), np.uint8)
    boxes = []
    for mask, x, y in placed:
        x0, y0, x1, y1 = x - left, y - top, x - left + mask.shape[1], y - top + mask.shape[0]
        window = coverage[y0:y1, x0:x1]
        np.maximum(window, mask, out=window)
        boxes.append((x0, y0, x1, y1))
    coverage.setflags(write=False)
    return Line(coverage, tuple(boxes))


def paint(rgb: np.ndarray, coverage: np.ndarray, x: int, y: int, colour: tuple[int, int, int]) -> None:
    height, width = coverage.shape
    window = rgb[y : y + height, x : x + width]
    alpha = coverage[..., None].astype(np.uint16)
    blend = (window * (255 - alpha) + alpha * np.array(colour, np.uint16) + 127) // 255
    window[:] = blend


def text_block(
    lines: Sequence[tuple[str, str, int]],
    path: Path,
    colour: str,
    plate: tuple[int, int, int],
    margin: int,
    apart: bool = False,
    pitch: int = 0,
) -> Block:
    """Lines of (text, role, cap height in page px) centred one above the other on a plate; the ink is that of the `code` lines.

    `apart`: the evidence is all lines, and a seam runs between the last two. `pitch`: least distance of characters and of lines.
    """
    drawn = [(draw_text(text, path, cap, pitch), text, role) for text, role, cap in lines]
    width = max(line.coverage.shape[1] for line, _, _ in drawn) + 2 * margin
    gap = max(margin, pitch - min(line.coverage.shape[0] for line, _, _ in drawn))
    height = sum(line.coverage.shape[0] for line, _, _ in drawn) + 2 * margin + gap * (len(drawn) - 1)
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = plate
    ink = np.zeros((height, width), bool)
    marks: list[Mark] = []
    y = margin
    for line, text, role in drawn:
        line_height, line_width = line.coverage.shape
        x = (width - line_width) // 2
        paint(rgb, line.coverage, x, y, content.COLOURS[colour])
        if role == "code" or apart:
            ink[y : y + line_height, x : x + line_width] |= line.coverage > 127
        boxes = ((x + x0, y + y0, x + x1, y + y1) for x0, y0, x1, y1 in line.boxes)
        marks += [Mark(character, colour, role, box) for character, box in zip(text, boxes, strict=True)]
        y += line_height + gap
    last = height - margin - drawn[-1][0].coverage.shape[0]
    return Block(rgb, ink, tuple(marks), (1, last - gap, last) if apart else None)


@lru_cache(maxsize=512)
def panel(layout: str, side: int) -> np.ndarray:
    """One of `LAYOUTS` as a bool mask [side, side]; its parts are at least a seventh of the side, wide enough for the overview."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    masks = {
        "full": np.ones_like(x, bool),
        "top": y < 0.5,
        "left": x < 0.5,
        "frame": np.maximum(abs(x - 0.5), abs(y - 0.5)) > 0.3,
        "cross": np.minimum(abs(x - 0.5), abs(y - 0.5)) < 0.14,
        "slash": abs(x + y - 1) < 0.24,
        "dots": np.hypot((x * 2) % 1 - 0.5, (y * 2) % 1 - 0.5) < 0.34,
        "bars": (x * 5).astype(int) % 2 == 0,
        "rows": (y * 5).astype(int) % 2 == 0,
        "disc": np.hypot(x - 0.5, y - 0.5) < 0.42,
    }
    return masks[layout]


def panel_block(layout: str, colour: str, side: int, plate: tuple[int, int, int], margin: int) -> Block:
    """A square panel of `side` page px on a plate."""
    mask = panel(layout, side)
    size = side + 2 * margin
    rgb = np.empty((size, size, 3), np.uint8)
    rgb[:] = plate
    inner = slice(margin, margin + side)
    rgb[inner, inner][mask] = content.COLOURS[colour]
    ink = np.zeros((size, size), bool)
    ink[inner, inner] = mask
    return Block(rgb, ink, (Mark(layout, colour, "panel", (margin, margin, margin + side, margin + side)),))


@cache
def _grain() -> np.ndarray:
    """A fixed texture uint8 [512, 512] of 0..11: fine noise and slow shading."""
    generator = np.random.Generator(np.random.PCG64(20))
    slow = Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8)).resize((512, 512), Image.Resampling.BICUBIC)
    return (np.asarray(slow) // 48 + generator.integers(0, 7, (512, 512), dtype=np.uint8)).astype(np.uint8)


def paper(generator: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Tinted paper with a little grain, uint8 [height, width, 3], between light and mid-grey."""
    tint = (generator.integers(150, 236) + generator.integers(-14, 15, 3)).clip(30, 255).astype(np.uint8)
    x, y = (int(v) for v in generator.integers(0, 512, 2))
    grain = _grain()
    if max(width, height) > 512:
        grain = np.tile(grain, (-(-height // 512), -(-width // 512)))
    grain = np.roll(grain, (y, x), (0, 1))[:height, :width]
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):  # three times faster than broadcasting over the short last axis
        np.subtract(tint[channel], grain, out=pixels[..., channel])
    return pixels


def photo_crop(generator: np.random.Generator, name: str, width: int, height: int) -> np.ndarray:
    """A random crop of a photo at one of two zooms, mirrored half of the time, uint8 [height, width, 3]."""
    side = max(width, height)
    image = content.photo(name, round(side * (1.05, 1.6)[int(generator.integers(2))]))
    x, y = int(generator.integers(image.shape[1] - width + 1)), int(generator.integers(image.shape[0] - height + 1))
    crop = image[y : y + height, x : x + width]
    return crop[:, ::-1].copy() if generator.random() < 0.5 else crop.copy()


def plate_colour(generator: np.random.Generator) -> tuple[int, int, int]:
    """A light plate: every text colour stands out on it."""
    r, g, b = (generator.integers(228, 248) + generator.integers(-7, 8, 3)).tolist()
    return r, g, b
