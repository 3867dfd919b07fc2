"""Opening an image: the one place where files of images come in."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, ImageFile

from fila_lab.config.base import FilaError
from fila_lab.imaging.rgb import to_rgb

_STREAM = re.compile(r"<_io\.BytesIO object at \w+>")
"""What Pillow calls an image that is no file."""
_TURNED = (5, 6, 7, 8)
"""Orientations of a picture that lies on its side."""
_TOLD_LATE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG that may say its orientation, behind the pixels too."""


class ImageError(FilaError):
    """An image that cannot be read. `kind`: missing image, damaged image, or image too large."""

    def __init__(self, message: str, kind: str = "damaged image") -> None:
        super().__init__(message)
        self.kind = kind


def load_image(path: str | Path) -> Image.Image:
    """An image file as upright RGB (`to_rgb`); of an animation, the first frame.

    Raises:
        ImageError: naming the file, where it is missing, no file, no image, damaged, too large, or has pixels that are no numbers.
    """
    name = f"image {str(path)!r}"
    with _named(name, path), _opened(path, name) as file:
        return _pixels(file, name)


def image_from_bytes(content: bytes, name: str) -> Image.Image:
    """`load_image` of a file's content; `name` is what messages call it.

    Raises:
        ImageError: as `load_image`.
    """
    with _named(name):
        return _pixels(_stream(content, name), name)


def image_size(content: bytes, name: str) -> tuple[int, int]:
    """(width, height) in px of what `image_from_bytes` makes of a file's content, from its header where the format tells it there.

    Raises:
        ImageError: as `load_image`, as far as the header shows it.
    """
    with _named(name):
        stream = _stream(content, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(stream) as image:
                if image.format == "PNG" and _told_late(content):
                    stream.seek(0)
                    return _pixels(stream, name).size
                turned = image.format != "TIFF" and Image.Image.getexif(image).get(ExifTags.Base.Orientation) in _TURNED
                width, height = image.size  # Pillow has turned a TIFF's
        return _checked((height, width) if turned else (width, height), name)


def _opened(path: str | Path, name: str) -> IO[bytes]:
    kind = Path(path)
    if kind.is_dir():
        raise ImageError(f"{name} is a folder; give the path of one image in it")
    if kind.exists() and not kind.is_file():
        raise ImageError(f"{name} is no regular file; save the image and give its path")
    if kind.is_file() and not kind.stat().st_size:
        raise ImageError(f"{name} is empty; save it again")
    return kind.open("rb")


def _stream(content: bytes, name: str) -> io.BytesIO:
    if not content:
        raise ImageError(f"{name} is empty; save it again")
    return io.BytesIO(content)


def _pixels(file: IO[bytes], name: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged tags that change no pixel, and of large images it then reads
        # From an open file: an uncompressed TIFF that is stored lying down would be mapped by its upright size, and read askew.
        with Image.open(file) as image:
            _mend_transparency(image)
            image.load()
            rgb = to_rgb(image)
    _checked(rgb.size, name)
    return rgb


def _checked(size: tuple[int, int], name: str) -> tuple[int, int]:
    if not all(size):
        raise ImageError(f"{name} has no pixels ({size[0]} x {size[1]}); give an image with some")
    return size


@contextmanager
def _named(name: str, path: str | Path | None = None) -> Iterator[None]:
    """Whatever goes wrong inside is an ImageError that begins with the image's name."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist; check the path", "missing image") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        message = f"{name} has more than {limit / 1e6:.0f} million pixels, more than is read from a file; scale it down"
        raise ImageError(message, "image too large") from error
    except FilaError as error:
        raise error if isinstance(error, ImageError) else ImageError(f"{name}: {error}") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read ({error.strerror}); change its permissions") from error
    except Exception as error:  # whatever a decoder trips over in a damaged file: Pillow's plugins raise nearly every kind
        text = _STREAM.sub("it", str(error)) if path is None else str(error).replace(repr(str(path)), "it")
        said = " ".join(text.split()) or type(error).__name__
        raise ImageError(f"{name} cannot be read ({said[:200]}); give an undamaged PNG, JPEG or other image file") from error


def _told_late(content: bytes) -> bool:
    """Whether chunks behind a PNG's first pixels may say how it is turned."""
    at, pixels = 8, False
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if pixels and kind in _TOLD_LATE:
            return True
        pixels |= kind == b"IDAT"
        at += 12 + length
    return False


def _mend_transparency(image: Image.Image) -> None:
    """A PNG's transparent colour counts in the file's own bits, Pillow's pixels in 8: brings the one to the other, before it is read."""
    clear = image.info.get("transparency")
    if not isinstance(image, ImageFile.ImageFile) or image.format != "PNG" or clear is None or not image.tile:
        return
    packed = image.tile[0].args
    raw = packed[0] if isinstance(packed, tuple) else packed
    if raw in ("L;2", "L;4") and isinstance(clear, int):
        image.info["transparency"] = clear * (85 if raw == "L;2" else 17)
    elif raw == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
