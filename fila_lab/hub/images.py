"""Images as a saved model sees them, for transformers: tiles and overview, and what the ConvNeXt looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor, BatchFeature
from transformers.image_transforms import to_pil_image
from transformers.image_utils import load_image as fetch_image

from fila_lab.config import RunConfig
from fila_lab.config.counts import STRIDES, llm_tokens
from fila_lab.config.renamed import present_run
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tiling import chosen_canvas, most_blocks, most_tiles
from fila_lab.imaging import ImageError, Prepared, load_image, prepare
from fila_lab.imaging.prepare import split_tiles

_ELSEWHERE = ("http://", "https://", "data:")
"""How texts begin that are no path."""
_SHOWN = 200
"""Characters of a text that a message shows."""


class FilaImageProcessor(BaseImageProcessor):
    """Images of any size to the pixels that `FilaForConditionalGeneration` reads, those of the laboratory to the bit.

    Pixels stay bytes: the model brings them into the units of its towers, each tower's own, and a batch is a quarter as large.

    run: as in FilaConfig.
    """

    model_input_names = ["pixel_values", "high_res_pixel_values", "image_sizes"]  # noqa: RUF012 (transformers' own form)

    def __init__(self, run: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = run or {}

    @property
    def run_config(self) -> RunConfig:
        """The run as the laboratory knows it. ValueError where it cannot be."""
        return RunConfig.model_validate(present_run(self.run))

    def tokens(self, height: int, width: int) -> int:
        """Visual tokens of an image of this many px."""
        run, size = self.run_config, (width, height)
        return llm_tokens(chosen_canvas(run.geometry, size), run, size)

    def preprocess(self, images: Any, return_tensors: str | None = None) -> BatchFeature:
        """An image, or a list of them, with None for a row without one; of lists in the list all images, one after the other. An image:
        PIL, an array or tensor of pixels, a path, an URL, or base64.

        Returns pixel_values, uint8 [N, 1 + n, T, T, 3]: the overview, then the tiles in raster order, n of them, the most that any image
        has; high_res_pixel_values, uint8 [N, m, S, S, 3], where the model has a ConvNeXt: the detail input in squares, one a tile of the
        canvas, in raster order, the most that any image has; image_sizes, int64 [N, 2]: height and width in px. What an image does not fill
        is 0, all of it in a row without an image. So rows of any images have one shape, and whoever makes batches of them (a pipeline, say)
        need not know how.
        """
        run = self.run_config
        rows = [None if image is None else prepare(opened(image), run.geometry, has_convnext(run)) for image in flat(images)]
        return BatchFeature(_stacked(rows, run), tensor_type=return_tensors)


def flat(images: Any) -> list[Any]:
    """Images in a list, those of lists in it one after the other; an array with one dimension more than an image is a list of images."""
    if isinstance(images, list | tuple):
        return [image for own in images for image in (flat(own) if isinstance(own, list | tuple) else [own])]
    return list(images) if getattr(images, "ndim", 0) == 4 else [images]


def opened(image: Any) -> Image.Image:
    """An image that is given in any of the ways that `preprocess` takes. ImageError where it is none."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Path) or (isinstance(image, str) and not image.startswith(_ELSEWHERE) and _is_file(image)):
        return load_image(image)
    if not isinstance(image, str):
        return _of_pixels(image)
    named = repr(image if len(image) <= _SHOWN else f"{image[:_SHOWN]}...")
    try:
        return fetch_image(image)
    except Exception as error:  # of the network, or of whatever the text was read as
        if image.startswith(_ELSEWHERE):
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ImageError(f"image {named} cannot be fetched ({first[:_SHOWN]}); check it, or give the path of a file") from error
        raise ImageError(f"image {named} does not exist, and is no base64 of an image; check the path, or give an URL") from error


def _of_pixels(image: Any) -> Image.Image:
    dimensions = getattr(image, "ndim", None)
    if dimensions is None:
        raise ImageError(f"image is of type {type(image).__name__}; give a path, an URL, an image of PIL, or an array of pixels")
    try:
        return to_pil_image(image[None] if dimensions == 2 else image)  # of grey pixels, without a channel's dimension
    except (ValueError, TypeError, IndexError, KeyError) as error:
        shape = list(image.shape)
        raise ImageError(f"image of shape {shape} is none ({error}); give pixels [height, width], or with 1, 3 or 4 channels") from error


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # base64 is no name that a file can have
        return False


def _stacked(rows: Sequence[Prepared | None], run: RunConfig) -> dict[str, torch.Tensor]:
    geometry, tile = run.geometry, run.geometry.tile
    pixels = np.zeros((len(rows), 1 + most_tiles(geometry), tile, tile, 3), np.uint8)
    sizes = np.zeros((len(rows), 2), np.int64)
    side = STRIDES[-1] * geometry.cells_a_side
    detail = np.zeros((len(rows), most_blocks(geometry), side, side, 3) if has_convnext(run) else 0, np.uint8)
    for number, row in enumerate(rows):
        if row is None:
            continue
        pixels[number, 0], pixels[number, 1 : 1 + len(row.tiles)] = row.overview, row.tiles
        sizes[number] = row.geometry.image_size[::-1]
        if row.detail is not None:
            blocks = split_tiles(row.detail, side)
            detail[number, : len(blocks)] = blocks
    found = {"pixel_values": pixels, "image_sizes": sizes} | ({"high_res_pixel_values": detail} if has_convnext(run) else {})
    return {name: torch.from_numpy(values) for name, values in found.items()}
