"""Any image as upright 8-bit RGB: orientation, transparency, number range and colour profile, in one function.

| mode | what becomes of it |
|---|---|
| 1, L, P, RGB, RGBX, CMYK, YCbCr, HSV, LAB | Pillow's conversion; an embedded profile that is not sRGB is applied first |
| LA, La, PA, RGBA, RGBa, and a transparent colour without an alpha channel (tRNS, GIF) | shown on white |
| I;16 and its byte orders | the format's own bits: 16 are divided by 257, a 12-bit TIFF's by 4095 / 255 |
| I, F | the range that the format declares (a PGM's maxval, a TIFF's sample values), else `value_range` |

A PNG or TIFF of 16 bits a *colour* comes from Pillow as the high bytes, at most one level below the rounded value.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from fila_lab.config.base import FilaError

BITS = (8, 10, 12, 14, 16)
"""What numbers without a declared range may have been."""
OVERSHOOT = 0.05
"""Beyond [0, 1] by so much is the ringing of a resampled image, and is clipped."""
FAINT = 16.0
"""Floats above 1 that stay below this would be nearly black in 0 to 255: no such image is meant."""
SAME_COLOUR = 2
"""A profile that moves no colour by more levels than this is sRGB under another name: it is left alone, and so are the pixels."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _RANGES = 258, 262, ((340, 341), (280, 281))
"""TIFF tags; the last are (smallest, largest) sample value, of any type and of 16 bits."""
_COLOUR_SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}

Range = tuple[float, float]
"""(what is black, what is white); the first is the greater where the format counts from white."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The image (of an animation, the frame that is open) as upright RGB of 8 bits. An RGB image that says nothing else is handed back.

    Raises:
        FilaError: pixels that are NaN or infinite.
        OSError, ValueError: of Pillow, for a damaged file.
    """
    declared = _declared_range(image)  # a turned copy no longer knows its file
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _coloured(*_levels(image, declared), image.info)
    if image.mode == "RGB" and not ({"transparency", "icc_profile"} & image.info.keys()):
        return image
    if not image.has_transparency_data:
        return _coloured(image, None, image.info)
    if image.mode in ("LA", "La"):
        levels, opacity = image.convert("LA").split()
        return _coloured(levels, opacity, image.info)
    layer = image.convert("RGBA")
    return _coloured(layer.convert("RGB"), layer.getchannel("A"), image.info)


def value_range(low: float, high: float, whole: bool) -> Range:
    """Black and white of numbers from `low` to `high` whose format declares no range.

    Whole numbers: the smallest of 8, 10, 12, 14 and 16 bits that holds them. Floats within [0, 1] (`OVERSHOOT`): 0 and 1; greater ones as
    whole numbers. Whatever fits none of these, negative numbers too, is stretched from its smallest to its largest value.
    """
    if not whole and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return 0.0, 1.0
    if low >= 0 and (whole or high >= FAINT):
        for bits in BITS:
            if high < 2**bits:
                return 0.0, 2.0**bits - 1
    return low, high


def _declared_range(image: Image.Image) -> Range | None:
    """What the file's format says of the numbers of an I, I;16 or F image; None where it says nothing."""
    if image.mode.startswith("I;"):
        found: Range | None = (0.0, 65535.0)
    else:
        found = (0.0, 65535.0) if image.mode == "I" and image.format == "PPM" else None  # Pillow has brought maxval to 16 bits
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return found
    if image.mode.startswith("I;"):
        found = 0.0, 2.0 ** _first(tags.get(_BITS_PER_SAMPLE, 16)) - 1
    for smallest, largest in _RANGES:
        if smallest in tags and largest in tags and _first(tags[smallest]) < _first(tags[largest]):
            found = _first(tags[smallest]), _first(tags[largest])
            break
    counts_from_white = tags.get(_PHOTOMETRIC) == 0 and (image.mode == "F" or image.mode.startswith("I"))
    return found[::-1] if counts_from_white and found is not None else found


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def _levels(image: Image.Image, declared: Range | None) -> tuple[Image.Image, Image.Image | None]:
    """(levels, opacity) of an image of one deep channel, both of mode L; no opacity where all of it is opaque."""
    values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        raise FilaError(
            f"{int((~finite).sum())} of its {values.size} pixels are NaN or infinite; fill them with numbers before it is shown to a model"
        )
    if declared is None:
        declared = value_range(float(values.min()), float(values.max()), image.mode != "F")
    black, white = declared
    levels = np.clip((values - black) / ((white - black) or 1.0), 0, 1)
    shown = Image.fromarray(np.floor(levels * 255 + 0.5).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return shown, None
    return shown, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))


def _coloured(image: Image.Image, opacity: Image.Image | None, info: Mapping[Any, Any]) -> Image.Image:
    """The image through its profile to RGB, then on white; without what `info` said, which has been done."""
    transform = _to_srgb(info["icc_profile"]) if isinstance(info.get("icc_profile"), bytes) else None
    if transform is not None and image.mode not in _COLOUR_SPACES.values():
        image = image.convert("L" if image.mode == "1" else "RGB")
    if transform is not None and transform[0] == image.mode:
        image = transform[1].apply(image)
    colours = Image.fromarray(np.asarray(image.convert("RGB")))
    if opacity is None:
        return colours
    colours.putalpha(opacity)
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """(the mode it takes, the transform); None for a profile that is damaged, of another space, or the same as none."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _COLOUR_SPACES[opened.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(
            opened, ImageCms.createProfile("sRGB"), mode, "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        probe = _probe(mode)
        moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if np.abs(moved).max() <= SAME_COLOUR else (mode, transform)


def _probe(mode: str) -> Image.Image:
    """Colours over the whole of a mode's space, a row of them."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    steps = np.linspace(0, 255, 9 if bands == 3 else 5 if bands == 4 else 256).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * bands), -1).reshape(1, -1, bands)
    return Image.fromarray(grid[..., 0] if bands == 1 else grid, mode=mode)
