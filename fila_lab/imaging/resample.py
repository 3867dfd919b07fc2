"""The named resampling operators, from a float box of an image to whole output px; all are antialiased when they reduce."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.imaging.torch_kernel import bicubic

PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
TORCH = "bicubic_torch"
OPERATORS = ("area", *PILLOW, TORCH)
"""`area` is the true mean over the output px, parts of image px included; Pillow's box filter would take whole image px only.
`bicubic_torch` is PyTorch's kernel for bytes, which Hugging Face's image processors use, in half the time. It rounds its weights more
coarsely than Pillow's `bicubic`, which changes few px of a picture, and those by a grey level or two (of noise, more)."""

Span = tuple[float, float]

_BLOCK = 16
"""Output px whose weights are one small dense matrix: most of a whole axis' matrix would be zeros."""


def resample_axes(
    image: Image.Image, span_x: Span, span_y: Span, size: tuple[int, int], operator: str, pixels: np.ndarray | None = None
) -> np.ndarray:
    """The box span_x x span_y (image px; beyond the image its edge px are repeated) at `size` (width, height): uint8 [height, width, 3].

    pixels: the image's uint8 [H, W, 3] where they are at hand, for making them takes as long as a fast kernel.

    Raises:
        ConfigError: there is no such operator.
    """
    if operator not in OPERATORS:
        known = ", ".join(OPERATORS)
        raise ConfigError(f"geometry.resample: unknown operator {operator!r}{did_you_mean(operator, OPERATORS)}; known are {known}")
    spans = [_snap(span, length) for span, length in zip((span_x, span_y), image.size, strict=True)]
    if operator == TORCH:
        return _torch(np.array(image) if pixels is None else pixels, spans, size)
    if operator != "area":
        return _pillow(image, spans, size, PILLOW[operator])
    if all(_divides(span, length, count) for span, length, count in zip(spans, image.size, size, strict=True)):
        return np.array(image.resize(size, Image.Resampling.BOX))  # here the box filter is the true mean, and faster
    means = np.asarray(image) if pixels is None else pixels
    for axis in (0, 1):
        means = _area_axis(means, axis, spans[1 - axis], size[1 - axis])
    return np.floor(means + 0.5).astype(np.uint8)


def _pillow(image: Image.Image, spans: list[Span], size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    outside = [axis for axis in (0, 1) if spans[axis][0] < 0 or spans[axis][1] > image.size[axis]]
    if not outside:
        return np.array(image.resize(size, method, box=(spans[0][0], spans[1][0], spans[0][1], spans[1][1])))
    # One axis at a time, the one inside the image first: repeating edge px then costs little even for a very long image.
    for axis in sorted((0, 1), key=lambda axis: axis in outside):
        low, high = spans[axis]
        before, after = max(0, math.ceil(-low)), max(0, math.ceil(high - image.size[axis]))
        image = _repeat_edges(image, axis, before, after)
        target, box = list(image.size), [0.0, 0.0, float(image.size[0]), float(image.size[1])]
        target[axis], box[axis], box[axis + 2] = size[axis], low + before, high + before
        image = image.resize((target[0], target[1]), method, box=(box[0], box[1], box[2], box[3]))
    return np.array(image)


def _torch(pixels: np.ndarray, spans: list[Span], size: tuple[int, int]) -> np.ndarray:
    """An axis that is not taken as a whole is Pillow's: PyTorch's kernel knows no box."""
    lengths = (pixels.shape[1], pixels.shape[0])
    whole = [span == (0.0, float(length)) for span, length in zip(spans, lengths, strict=True)]
    width, height = (count if taken else length for count, length, taken in zip(size, lengths, whole, strict=True))
    content = bicubic(pixels, (width, height))
    if all(whole):
        return content
    left = [(0.0, float(count)) if taken else span for span, count, taken in zip(spans, size, whole, strict=True)]
    return _pillow(Image.fromarray(content), left, size, PILLOW["bicubic"])


def _area_axis(pixels: np.ndarray, axis: int, span: Span, count: int) -> np.ndarray:
    """Means over `count` equal parts of `span` along an axis: [H, W, 3] -> float32 of the same shape but `count` on that axis."""
    length = pixels.shape[axis]
    edges = span[0] + (span[1] - span[0]) * np.arange(count + 1) / count
    shape = list(pixels.shape)
    shape[axis] = count
    out = np.empty(shape, np.float32)
    for start in range(0, count, _BLOCK):
        ends = edges[start : start + _BLOCK + 1]
        first, last = math.floor(ends[0]), math.ceil(ends[-1])
        positions = np.arange(first, last)
        overlap = np.minimum(ends[1:, None], positions + 1) - np.maximum(ends[:-1, None], positions)
        weights = (np.maximum(overlap, 0) / np.diff(ends)[:, None]).astype(np.float32)
        if first >= 0 and last <= length:
            block = pixels[first:last] if axis == 0 else pixels[:, first:last]
        else:
            block = np.take(pixels, np.clip(positions, 0, length - 1), axis=axis)
        values = block.astype(np.float32)
        if axis == 0:
            out[start : start + _BLOCK] = (weights @ values.reshape(len(positions), -1)).reshape(-1, *values.shape[1:])
        else:
            out[:, start : start + _BLOCK] = weights @ values
    return out


def _divides(span: Span, length: int, count: int) -> bool:
    """Whether the span is the whole axis and each output px holds the same whole number of image px."""
    return span == (0.0, float(length)) and length % count == 0


def _snap(span: Span, length: int) -> Span:
    """Ends within float noise of the image's edges lie on them."""
    tolerance = 1e-9 * length
    low, high = span
    return (0.0 if abs(low) <= tolerance else low, float(length) if abs(high - length) <= tolerance else high)


def _repeat_edges(image: Image.Image, axis: int, before: int, after: int) -> Image.Image:
    if not before and not after:
        return image
    widths = [(0, 0), (0, 0), (0, 0)]
    widths[1 - axis] = (before, after)
    return Image.fromarray(np.pad(np.asarray(image), widths, mode="edge"))
