"""Where models' processors cut images: by the audit's geometry, and by the pixels that the processors themselves hand out."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.tiling import most_tiles
from fila_lab.hub.audit.seen import check_tiling, seen_boxes, tile_boxes
from fila_lab.hub.audit.tilings import Settings, Tiling, seams, tiling_of
from fila_lab.imaging import cut_fraction, prepare

SIZES, QUICK = 200, 40
NEAR = 0.4
"""Canvas px between a tile's sides by geometry and as pixels show them, at most: 256 levels leave so much open."""


class Bare:
    """A processor without a tokenizer: its image processor, and what it passes to that when it is called."""

    images_kwargs: Mapping[str, Any] = {}

    def __init__(self, images: Any) -> None:
        self.image_processor = images


class Cutting(Bare):
    images_kwargs: Mapping[str, Any] = {"crop_to_patches": True}  # as InternVLProcessor's


def pinpoints(tile: int) -> list[list[int]]:
    return [[tile, 2 * tile], [2 * tile, tile], [2 * tile, 2 * tile], [3 * tile, tile], [tile, 3 * tile]]


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def config(patch: int, **fields: Any) -> Any:
    return SimpleNamespace(vision_config=SimpleNamespace(patch_size=patch, image_size=None), **fields)


SMALL: dict[str, tuple[Any, Any]] = {
    "llava_next": (
        Bare(hf.LlavaNextImageProcessor(size={"shortest_edge": 28}, crop_size=square(28), image_grid_pinpoints=pinpoints(28))),
        config(14),
    ),
    "internvl": (Cutting(hf.GotOcr2ImageProcessor(size=square(28), max_patches=6)), config(7, downsample_ratio=0.5)),
    "idefics3": (
        Bare(hf.Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 28})),
        config(7, scale_factor=2),
    ),
    "single": (Bare(hf.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=square(28))), config(14)),
}
PUBLISHED: dict[str, tuple[Any, Any]] = {}
for _kind in ("", "Pil"):
    PUBLISHED |= {
        f"llava_next{_kind}": (
            Bare(
                getattr(hf, f"LlavaNextImageProcessor{_kind}")(
                    size={"shortest_edge": 336}, crop_size=square(336), image_grid_pinpoints=pinpoints(336)
                )
            ),
            config(14),
        ),
        f"internvl{_kind}": (Cutting(getattr(hf, f"GotOcr2ImageProcessor{_kind}")(size=square(448))), config(14, downsample_ratio=0.5)),
        f"idefics3{_kind}": (Bare(getattr(hf, f"Idefics3ImageProcessor{_kind}")()), config(14, scale_factor=2)),
        f"smolvlm{_kind}": (
            Bare(getattr(hf, f"SmolVLMImageProcessor{_kind}")(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})),
            config(16, scale_factor=4),
        ),
        f"siglip{_kind}": (Bare(getattr(hf, f"SiglipImageProcessor{_kind}")(size=square(224))), config(14)),
        f"llava{_kind}": (
            Bare(getattr(hf, f"LlavaImageProcessor{_kind}")(size={"shortest_edge": 336}, crop_size=square(336), do_pad=False)),
            config(14),
        ),
    }


class FilaImageProcessor:
    """As the laboratory's own: bytes, colours last, the overview first, then as many tiles as any image has."""

    def __init__(self, **fields: Any) -> None:
        geometry = GeometryConfig(**{"tile": 28, "patch": 14, "canvases": CANVASES, "detail_cells": 2, **fields})
        self.run_config = SimpleNamespace(geometry=geometry, projector=SimpleNamespace(side=1))

    def __call__(self, images: Any, return_tensors: str) -> dict[str, Any]:
        seen, most = prepare(images, self.run_config.geometry, detail=False), most_tiles(self.run_config.geometry)
        nothing = np.zeros((most - len(seen.tiles), *seen.overview.shape), np.uint8)
        return {"pixel_values": torch.from_numpy(np.concatenate([seen.overview[None], seen.tiles, nothing]))[None]}


CANVASES = [(width, height) for height, width in pinpoints(28)]
SMALL["fila"] = (Bare(FilaImageProcessor()), None)
SMALL["fila internvl"] = (Bare(FilaImageProcessor(tiling={"rule": "internvl", "max_tiles": 6, "fit": "stretch"})), None)


def sizes(least: int, most: int, count: int = SIZES) -> list[tuple[int, int]]:
    """Image sizes of any aspect up to 8, with edges that differ by a px among them."""
    draw = np.random.default_rng(0)
    found: list[tuple[int, int]] = []
    while len(found) < count:
        width, height = (int(side) for side in np.exp(draw.uniform(np.log(least), np.log(most), 2)))
        if max(width, height) <= 8 * min(width, height):
            found.append((width, height))
    return found


def check_by_pixels(processor: Any, tiling: Tiling, size: tuple[int, int]) -> int:
    """Compare a geometry with a processor's pixels; how many sides of tiles could be seen."""
    geometry = tiling.geometry(size)
    seen, own = (np.array(boxes) for boxes in (seen_boxes(processor, tiling, geometry), tile_boxes(geometry)))
    off = np.abs(seen - own) * np.array(geometry.scales * 2)
    assert np.nanmax(off) < NEAR, (size, geometry, seen, own)
    return int(np.isfinite(off).sum())


@pytest.mark.parametrize("family", SMALL)
def test_geometry_is_what_the_processors_own_pixels_show(family: str) -> None:
    """With small tiles: all that a size decides is the same for large ones, which take longer (below)."""
    processor, model = SMALL[family]
    tiling = tiling_of(processor, model)
    assert tiling.name == family.split()[0]
    visible = [check_by_pixels(processor, tiling, size) for size in sizes(50, 200, QUICK)]
    assert min(visible) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("family", [*SMALL, *(name for name in PUBLISHED if name not in SMALL)])
def test_geometry_of_published_settings_over_200_image_sizes(family: str) -> None:
    """Fewer in the Pillow backends, which follow the same rules and take longer."""
    processor, model = (SMALL | PUBLISHED)[family]
    tiling = tiling_of(processor, model)
    count = QUICK if family.endswith("Pil") else SIZES
    for size in sizes(300, 2400, count) if family in PUBLISHED else sizes(50, 200):
        check_by_pixels(processor, tiling, size)


@pytest.mark.parametrize(
    ("family", "size", "x", "y"),
    [
        ("llava_next", (640, 480), (320.0,), (240.0,)),  # 672 x 504 on 672 x 672
        ("llava_next", (2000, 500), (2000 / 3, 4000 / 3), ()),  # 1008 x 252 on 1008 x 336
        ("internvl", (800, 600), (200.0, 400.0, 600.0), (200.0, 400.0)),  # 4 x 3 tiles
        ("internvl", (896, 896), (448.0,), (448.0,)),  # half of 3 x 3 tiles is not filled
        ("smolvlm", (1024, 768), (256.0, 512.0, 768.0), (256.0, 512.0)),  # 2048 x 1536
        ("smolvlm", (300, 900), (150.0,), (225.0, 450.0, 675.0)),  # 684 is stretched to 1024
        ("siglip", (300, 900), (), ()),
        ("llava", (300, 900), (), ()),
    ],
)
def test_seams_in_an_images_own_pixels_by_hand(family: str, size: tuple[int, int], x: tuple[float, ...], y: tuple[float, ...]) -> None:
    processor, model = PUBLISHED[family]
    found = seams(tiling_of(processor, model).geometry(size))
    assert found[0] == pytest.approx(x)
    assert found[1] == pytest.approx(y)


def test_what_lies_on_a_seam_is_cut_in_the_lab_s_own_sense() -> None:
    processor, model = PUBLISHED["internvl"]
    geometry = tiling_of(processor, model).geometry((800, 600))
    assert cut_fraction((190, 50, 210, 60), geometry) == pytest.approx(0.5)
    assert cut_fraction((210, 50, 230, 60), geometry) == 0


def test_what_a_single_crop_leaves_out_lies_outside_its_tile() -> None:
    processor, model = PUBLISHED["llava"]
    (box,) = tile_boxes(tiling_of(processor, model).geometry((300, 900)))
    assert box == pytest.approx((0, 300, 300, 600))


@pytest.mark.parametrize(
    ("processor", "model", "said"),
    [
        (Bare(hf.ViTImageProcessor()), config(14), "is not known to the audit"),
        (SimpleNamespace(), config(14), "has no image processor"),
        (SMALL["single"][0], SimpleNamespace(), "does not say vision_config.patch_size"),
        (SMALL["single"][0], config(5), "is no whole number of patches"),
        (Bare(hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square(28))), config(14), "is cropped to 28"),
        (Bare(hf.SiglipImageProcessor(size=square(28), do_resize=False)), config(14), "do_resize is off"),
        (Bare(hf.Gemma3ImageProcessor(size=square(28), do_pan_and_scan=True)), config(14), "do_pan_and_scan"),
        (Bare(hf.GotOcr2ImageProcessor(size={"height": 28, "width": 56})), config(14), "no square"),
        (
            Bare(hf.LlavaNextImageProcessor(size={"shortest_edge": 28}, crop_size=square(28), image_grid_pinpoints=[[28, 40]])),
            config(14),
            "no whole number of tiles",
        ),
        (
            Bare(hf.LlavaNextImageProcessor(size={"shortest_edge": 30}, crop_size=square(28), image_grid_pinpoints=[[28, 56]])),
            config(14),
            "are resized to 30",
        ),
        (Bare(FilaImageProcessor(tiling={"overlap": 1})), None, "tiles overlap"),
        (Bare(hf.Idefics3ImageProcessor(size={"height": 28, "width": 28})), config(7, scale_factor=2), "longest_edge"),
    ],
)
def test_a_processor_without_a_geometry_is_refused_with_the_reason(processor: Any, model: Any, said: str) -> None:
    with pytest.raises(FilaError, match=said):
        tiling_of(processor, model)


def test_tokens_are_as_large_as_the_model_merges_patches() -> None:
    single = SMALL["single"][0]
    assert tiling_of(single, config(14)).patch == 14
    assert tiling_of(single, config(7, scale_factor=4)).patch == 28
    assert tiling_of(single, config(7, downsample_ratio=0.5)).patch == 14
    assert tiling_of(single, config(7, downsample_factor=2)).patch == 14
    gemma = SimpleNamespace(vision_config=SimpleNamespace(patch_size=14, image_size=896), mm_tokens_per_image=256)
    assert tiling_of(Bare(hf.Gemma3ImageProcessor(size=square(896))), gemma).patch == 56


def test_a_processor_that_cuts_elsewhere_than_its_settings_say_is_found_out_by_its_pixels() -> None:
    processor, model = SMALL["llava_next"]
    tiling = tiling_of(processor, model)
    check_tiling(processor, tiling, (56, 56))
    with pytest.raises(FilaError, match="as 5 crops of 28 px, where its settings speak of 4 of 28 px"):
        check_tiling(processor, tiling_of(*_other("llava_next", image_grid_pinpoints=[[28, 84]])), (56, 56))
    with pytest.raises(FilaError, match="in tile 0 the box"):
        check_tiling(processor, _Shifted(tiling), (50, 40))


def _other(family: str, **fields: Any) -> tuple[Any, Any]:
    processor, model = SMALL[family]
    images = type(processor.image_processor)(**{**processor.image_processor.to_dict(), **fields})
    return Bare(images), model


class _Shifted(Tiling):
    """Another's tiling for an image a tenth longer."""

    name = "shifted"

    def __init__(self, other: Tiling) -> None:
        super().__init__(other.tile, other.patch)
        self.other = other

    def geometry(self, size: tuple[int, int]) -> Any:
        longer = self.other.geometry((size[0], round(size[1] * 1.1)))
        return self.on_canvas(size, longer.canvas, "stretch")

    def tiles(self, geometry: Any) -> slice:
        return self.other.tiles(geometry)


def test_settings_that_a_processor_passes_go_before_those_of_its_image_processor() -> None:
    assert Settings(Cutting(hf.GotOcr2ImageProcessor(crop_to_patches=False))).get("crop_to_patches") is True
    assert Settings(Bare(hf.GotOcr2ImageProcessor(crop_to_patches=False))).get("crop_to_patches") is False
