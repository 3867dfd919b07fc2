"""Every kind of image becomes the right RGB: expected values are computed here with numpy, from what each format says."""

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin
from skimage.color import hsv2rgb

from fila_lab.config.base import FilaError
from fila_lab.imaging import ImageError, image_from_bytes, image_size, load_image, to_rgb

RNG = np.random.default_rng(5)
LEVELS = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
OPACITY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 8)).astype(np.uint16)


def on_white(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    share = opacity[..., None] / 255
    return colours * share + 255 * (1 - share)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(levels, float)[..., None], 3, -1)


def palette_image(alpha: bytes | int | None = None) -> tuple[Image.Image, np.ndarray]:
    table = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
    index = RNG.integers(0, 16, (6, 8), dtype=np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(table.tobytes())
    if alpha is not None:
        image.info["transparency"] = alpha
    opacity = np.full(16, 255)
    if isinstance(alpha, int):
        opacity[alpha] = 0
    elif alpha is not None:
        opacity[: len(alpha)] = list(alpha)
    return image, on_white(table[index].astype(float), opacity[index])


def raw_png(depth: int, colour: int, rows: np.ndarray, clear: bytes = b"") -> bytes:
    """A PNG by its specification: rows uint8 [H, bytes a row]."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    samples = {0: 1, 2: 3}[colour]
    width = rows.shape[1] * 8 // depth // samples
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"tRNS", clear) if clear else b"", chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pgm(values: np.ndarray, maxval: int, plain: bool = False) -> bytes:
    head = f"{'P2' if plain else 'P5'}\n{values.shape[1]} {values.shape[0]}\n{maxval}\n".encode()
    return head + (" ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2" if maxval > 255 else "u1").tobytes())


def differs(found: Image.Image, expected: np.ndarray) -> float:
    assert found.mode == "RGB"
    return float(np.abs(np.asarray(found, float) - expected).max())


def encoded(linear: np.ndarray) -> np.ndarray:
    """The sRGB curve, of IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def premultiplied(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return (colours * (opacity[..., None] / 255)).round().astype(np.uint8)


RGBA = np.dstack([COLOURS, OPACITY])
IN_MEMORY: dict[str, tuple[Image.Image, np.ndarray]] = {
    "1": (Image.fromarray(LEVELS > 127), grey((LEVELS > 127) * 255)),
    "L": (Image.fromarray(LEVELS), grey(LEVELS)),
    "LA": (Image.merge("LA", [Image.fromarray(LEVELS), Image.fromarray(OPACITY)]), on_white(grey(LEVELS), OPACITY)),
    "La": (
        Image.merge("LA", [Image.fromarray(LEVELS), Image.fromarray(OPACITY)]).convert("La"),
        on_white(grey(LEVELS), OPACITY),
    ),
    "P": palette_image(),
    "P, one index clear": palette_image(3),
    "P, an opacity an index": palette_image(bytes([0, 40, 255, 128])),
    "RGB": (Image.fromarray(COLOURS), COLOURS.astype(float)),
    "RGBA": (Image.fromarray(RGBA), on_white(COLOURS, OPACITY)),
    "RGBa": (Image.fromarray(RGBA).convert("RGBa"), premultiplied(COLOURS, OPACITY) + 255.0 - grey(OPACITY)),
    "RGBX": (Image.fromarray(COLOURS).convert("RGBX"), COLOURS.astype(float)),
    "CMYK": (
        Image.fromarray(np.dstack([COLOURS, LEVELS]), "CMYK"),
        (255.0 - COLOURS) * (255 - LEVELS[..., None].astype(float)) / 255,
    ),
    "I;16": (Image.fromarray(DEEP), grey(DEEP / 257)),
    "I;16B": (Image.frombytes("I;16B", (8, 6), DEEP.astype(">u2").tobytes()), grey(DEEP / 257)),
    "I, 8 bits": (Image.fromarray(LEVELS.astype(np.int32)), grey(LEVELS)),
    "I, 10 bits": (Image.fromarray(np.where(DEEP.max() == DEEP, 1000, DEEP % 1024).astype(np.int32)), None),
    "I, 16 bits": (Image.fromarray(np.where(DEEP.max() == DEEP, 65000, DEEP).astype(np.int32)), None),
    "I, negative": (Image.fromarray(DEEP.astype(np.int32) - 40000), grey((DEEP - DEEP.min()) * (255 / np.ptp(DEEP)))),
    "I, large": (Image.fromarray(DEEP.astype(np.int32) * 30000), grey((DEEP - DEEP.min()) * (255 / np.ptp(DEEP)))),
    "F, 0 to 1": (Image.fromarray((LEVELS / 255).astype(np.float32)), grey(LEVELS)),
    "F, 0 to 255": (Image.fromarray(LEVELS.astype(np.float32)), grey(LEVELS)),
    "F, 0 to 65535": (Image.fromarray(DEEP.astype(np.float32)), grey(DEEP / 257)),
    "F, -1 to 1": (
        Image.fromarray((LEVELS / 127.5 - 1).astype(np.float32)),
        grey((LEVELS.astype(float) - LEVELS.min()) * (255 / np.ptp(LEVELS))),
    ),
    "F, 0 to 3": (Image.fromarray((LEVELS / 85).astype(np.float32)), grey((LEVELS.astype(float) - LEVELS.min()) * (255 / np.ptp(LEVELS)))),
}
for _name, _top in (("I, 10 bits", 1023), ("I, 16 bits", 65535)):
    IN_MEMORY[_name] = (IN_MEMORY[_name][0], grey(np.asarray(IN_MEMORY[_name][0]) * (255 / _top)))


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_every_mode_in_memory(kind: str) -> None:
    image, expected = IN_MEMORY[kind]
    # Premultiplied channels were rounded before: what is divided out again is off by as much as was lost.
    tolerance = 3 if kind == "La" else 1.01
    assert differs(to_rgb(image), expected) <= tolerance, kind


def test_pa_hsv_ycbcr_and_lab() -> None:
    image, expected = palette_image()
    both = Image.new("PA", image.size)
    both.putpalette(image.getpalette("RGB"))  # type: ignore[arg-type]
    both.im.putband(image.im, 0)
    both.putalpha(Image.fromarray(OPACITY))
    assert differs(to_rgb(both), on_white(expected, OPACITY)) <= 1.01
    hue = COLOURS / 255
    assert differs(to_rgb(Image.fromarray(COLOURS, "HSV")), hsv2rgb(hue) * 255) <= 3  # Pillow's hue has 256 steps
    y, cb, cr = (COLOURS[..., c].astype(float) for c in range(3))
    jfif = np.dstack([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)])
    assert differs(to_rgb(Image.fromarray(COLOURS, "YCbCr")), np.clip(jfif, 0, 255)) <= 2
    lightness = np.linspace(0, 255, 48).reshape(6, 8).round().astype(np.uint8)
    neutral = np.dstack([lightness, np.zeros_like(lightness), np.zeros_like(lightness)])
    share = lightness * (100 / 255)
    luminance = np.where(share > 8, ((share + 16) / 116) ** 3, share * (27 / 24389))  # CIE 1976
    assert differs(to_rgb(Image.frombytes("LAB", (8, 6), neutral.tobytes())), grey(encoded(luminance) * 255)) <= 2


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_png_with_a_clear_level(depth: int, tmp_path: Path) -> None:
    top = 2**depth - 1
    values = RNG.integers(0, top + 1, (5, 16))
    values[0, :2] = (top, 0)
    clear = int(values[2, 3])
    bits = ((values[..., None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(5, -1)
    (tmp_path / "page.png").write_bytes(raw_png(depth, 0, np.packbits(bits, axis=1), struct.pack(">H", clear)))
    expected = grey(np.where(values == clear, 255, values * (255 / top)))
    assert differs(load_image(tmp_path / "page.png"), expected) <= 0.51
    (tmp_path / "opaque.png").write_bytes(raw_png(depth, 0, np.packbits(bits, axis=1)))
    assert differs(load_image(tmp_path / "opaque.png"), grey(values * (255 / top))) <= 0.51


@pytest.mark.parametrize("depth", [8, 16])
def test_a_colour_png_with_a_clear_colour(depth: int, tmp_path: Path) -> None:
    values = (RNG.integers(0, 256, (5, 4, 3)) * (257 if depth == 16 else 1)).astype(">u2" if depth == 16 else np.uint8)
    clear = values[1, 2]
    rows = values.reshape(5, -1).view(np.uint8)
    (tmp_path / "page.png").write_bytes(raw_png(depth, 2, rows, clear.astype(">u2").tobytes()))
    shown = np.where((values == clear).all(-1, keepdims=True), 255, values.astype(float) / (257 if depth == 16 else 1))
    assert differs(load_image(tmp_path / "page.png"), shown) <= 1.01


@pytest.mark.parametrize("maxval", [1, 15, 255, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.05])
def test_a_pgm_says_its_own_range_whatever_it_shows(maxval: int, plain: bool, share: float, tmp_path: Path) -> None:
    values = RNG.integers(0, int(maxval * share) + 1, (6, 8))
    (tmp_path / "page.pgm").write_bytes(pgm(values, maxval, plain))
    assert differs(load_image(tmp_path / "page.pgm"), grey(values * (255 / maxval))) <= 0.51


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 0), (16, 1)])
def test_a_deep_tiff_in_its_own_bits_from_black_and_from_white(bits: int, photometric: int, tmp_path: Path) -> None:
    values = (DEEP >> (16 - bits)).astype(np.uint16)
    if bits == 16:
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2()
        tags[262] = photometric
        Image.fromarray(values).save(tmp_path / "page.tif", tiffinfo=tags)
    else:
        packed = np.packbits(((values[..., None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8).reshape(6, -1), axis=1).tobytes()
        entries = {256: 8, 257: 6, 258: 12, 259: 1, 262: 1, 273: 200, 277: 1, 278: 6, 279: len(packed)}
        head = b"II*\0" + struct.pack("<IH", 8, len(entries))
        head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
        (tmp_path / "page.tif").write_bytes(head.ljust(200, b"\0") + packed)
    levels = values * (255 / (2**bits - 1))
    assert differs(load_image(tmp_path / "page.tif"), grey(255 - levels if photometric == 0 else levels)) <= 0.51


@pytest.mark.parametrize(("dtype", "factor"), [(np.int32, 1), (np.float32, 0.001)])
def test_a_tiff_that_declares_its_range_is_shown_by_it(dtype: Any, factor: float, tmp_path: Path) -> None:
    values = (LEVELS * 20 * factor).astype(dtype)
    tags: Any = TiffImagePlugin.ImageFileDirectory_v2()
    kind = 12 if dtype == np.float32 else 9
    for tag, value in ((340, -1000 * factor), (341, 9000 * factor)):
        tags.tagtype[tag], tags[tag] = kind, float(value) if kind == 12 else int(value)
    Image.fromarray(values).save(tmp_path / "page.tif", tiffinfo=tags)
    expected = grey((values.astype(float) + 1000 * factor) / (10000 * factor) * 255)
    assert differs(load_image(tmp_path / "page.tif"), expected) <= 0.51


@pytest.mark.parametrize("name", [name for name in IN_MEMORY if name.startswith(("I, ", "F, "))])
def test_int32_and_float_tiff_files(name: str, tmp_path: Path) -> None:
    image, expected = IN_MEMORY[name]
    image.save(tmp_path / "page.tif")
    found = load_image(tmp_path / "page.tif")
    assert differs(found, expected) <= 1.01
    assert np.ptp(np.asarray(found)) > 200  # neither nearly white nor nearly black


@given(st.floats(-(2.0**100), 2.0**100), st.floats(-(2.0**100), 2.0**100), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_range_of_numbers_comes_out_nearly_one_colour(first: float, last: float, whole: bool) -> None:
    """A ramp that fills more than a tenth of what it may fill shows at least a tenth of the levels, whatever its ends."""
    ramp = np.linspace(first, last, 64)
    values = np.clip(ramp, -(2**31), 2**31 - 1).astype(np.int32) if whole else ramp.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    found = np.asarray(to_rgb(Image.fromarray(values.reshape(8, 8))))
    assert high - low < max(1.0, 0.5 * max(abs(low), abs(high))) or np.ptp(found) >= 12 or (whole and high < 128)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused_by_name(bad: float, tmp_path: Path) -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = bad
    Image.fromarray(values).save(tmp_path / "page.tif")
    with pytest.raises(FilaError, match=r"page\.tif'.*1 of its 16 pixels are NaN or infinite"):
        load_image(tmp_path / "page.tif")


STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda page: page,
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.T,
    6: lambda page: page.T[::-1],
    7: lambda page: page.T[::-1, ::-1],
    8: lambda page: page.T[:, ::-1],
}
"""How each orientation stores a page, from EXIF's words: 6 says that its first row is the right side, its first column the top."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("suffix", "deep"), [("jpg", False), ("png", False), ("tif", False), ("webp", False), ("png", True), ("tif", True)]
)
def test_images_stand_upright(orientation: int, suffix: str, deep: bool, tmp_path: Path) -> None:
    upright = np.zeros((8, 16), np.uint8)
    upright[:4, :8], upright[4:, 8:] = 250, 120  # two corners tell all eight apart
    stored = STORED[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored.astype(np.uint16) * 257 if deep else stored))
    options: dict[str, Any] = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    image.save(tmp_path / f"page.{suffix}", exif=exif, **options)
    assert differs(load_image(tmp_path / f"page.{suffix}"), grey(upright)) <= (40 if suffix == "jpg" else 1)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_is_shown(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (12, 9), colour) for colour in ((200, 30, 30), (30, 200, 30), (30, 30, 200))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"page.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert differs(load_image(tmp_path / f"page.{suffix}"), np.broadcast_to([200.0, 30, 30], (9, 12, 3))) <= 2


def test_a_gif_with_a_clear_colour_is_shown_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([10, 10, 10, 200, 20, 20])
    image.putpixel((2, 1), 0)
    image.save(tmp_path / "page.gif", transparency=0)
    found = np.asarray(load_image(tmp_path / "page.gif"))
    assert found[1, 2].tolist() == [255, 255, 255]
    assert found[0, 0].tolist() == [200, 20, 20]


def test_a_profile_of_other_colours_is_applied_and_one_of_srgb_is_not(tmp_path: Path) -> None:
    """Levels that their profile calls linear come out through the sRGB curve."""
    plain = Image.fromarray(COLOURS)
    plain.save(tmp_path / "same.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(np.asarray(load_image(tmp_path / "same.png")), COLOURS)
    plain.save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    assert np.array_equal(np.asarray(load_image(tmp_path / "broken.png")), COLOURS)
    plain.save(tmp_path / "other.png", icc_profile=grey_profile(gamma=1.0))  # a profile of grey says nothing of colours
    assert np.array_equal(np.asarray(load_image(tmp_path / "other.png")), COLOURS)
    linear = np.maximum(LEVELS, 16)  # below, the curve is steep and the transform of 8 bits rough
    expected = grey(encoded(linear / 255) * 255)
    Image.fromarray(linear).save(tmp_path / "grey.png", icc_profile=grey_profile(gamma=1.0))
    assert differs(load_image(tmp_path / "grey.png"), expected) <= 1
    both = Image.merge("LA", [Image.fromarray(linear), Image.fromarray(OPACITY)])
    both.save(tmp_path / "clear.png", icc_profile=grey_profile(gamma=1.0))
    assert differs(load_image(tmp_path / "clear.png"), on_white(expected, OPACITY)) <= 2


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey with a pure power curve, by the specification (version 2)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    words = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(8) + bytes(3) + bytes(67)
    words += b"\0" * (-len(words) % 4)
    tags, data, offset = [], b"", 128 + 4 + 12 * 3
    for name, content in ((b"desc", words), (b"wtpt", white), (b"kTRC", curve)):
        tags.append(name + struct.pack(">II", offset + len(data), len(content)))
        data += content
    body = struct.pack(">I", len(tags)) + b"".join(tags) + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + body


def test_what_is_no_image_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(COLOURS).save(tmp_path / "big.png")
    said = {
        "empty.png": "is empty",
        "text.png": "cannot be read",
        ".": "is a folder",
        "missing.png": "does not exist",
        "pipe.png": "is no regular file",
        "nul\0.png": "cannot be read",
        "x" * 5000: "cannot be read",
    }
    for name, words in said.items():
        with pytest.raises(FilaError, match=words) as caught:
            load_image(tmp_path / name)
        assert len(str(caught.value)) < 400 + len(str(tmp_path / name))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(FilaError, match=r"big\.png' has more than 0 million pixels"):
        load_image(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # a large image that Pillow only warns of
    assert load_image(tmp_path / "big.png").size == (8, 6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "webp", "bmp", "ppm", "jp2", "tga", "pcx", "ico", "qoi", "avif"])
@pytest.mark.filterwarnings("error")
def test_a_damaged_file_is_an_image_or_one_message(suffix: str, tmp_path: Path) -> None:
    """Cut at every kind of place and with bytes turned over: never another error, never a warning."""
    path = tmp_path / f"page.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(suffix))
    for attempt in range(25):
        data = bytearray(whole[: rng.integers(1, len(whole))]) if attempt % 2 else bytearray(whole)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(FilaError):
            assert load_image(path).mode == "RGB"


def test_a_plain_rgb_image_is_handed_back_and_the_profile_is_not_applied_twice() -> None:
    image = Image.fromarray(COLOURS)
    assert to_rgb(image) is image
    once = to_rgb(Image.fromarray(LEVELS))
    assert to_rgb(once) is once


@pytest.mark.parametrize("orientation", [None, *STORED])
@pytest.mark.parametrize("suffix", ["jpg", "png", "late png", "tif", "webp", "avif", "gif", "bmp", "ico"])
def test_the_header_tells_the_size_of_what_is_read(orientation: int | None, suffix: str) -> None:
    """With and without an orientation, and where a PNG tells it behind its pixels."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    stored, file = Image.fromarray(np.zeros((8, 16), np.uint8)), io.BytesIO()
    kind = suffix.rpartition(" ")[2]
    options = {"exif": exif} if orientation and kind in ("jpg", "png", "tif", "webp", "avif") else {}
    stored.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind.upper()), **options)
    content = file.getvalue()
    if suffix == "late png" and orientation:
        start = content.index(b"eXIf") - 4
        stop = start + 12 + int.from_bytes(content[start : start + 4])
        content = content[:start] + content[stop:-12] + content[start:stop] + content[-12:]
    found = image_size(content, "page")
    assert found == image_from_bytes(content, "page").size
    if options:
        assert found == ((8, 16) if (orientation or 0) > 4 else (16, 8))


def test_of_a_file_s_content_the_same_is_read(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "page.png")
    content = (tmp_path / "page.png").read_bytes()
    assert np.array_equal(np.asarray(image_from_bytes(content, "page")), COLOURS)
    for content, words in ((b"", "page 7 is empty"), (b"no image", "page 7 cannot be read")):
        for read in (image_from_bytes, image_size):
            with pytest.raises(ImageError, match=words):
                read(content, "page 7")
