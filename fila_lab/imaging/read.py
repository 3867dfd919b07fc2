"""Opening an image file: the one place where files of images come in."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageFile

from fila_lab.config.base import FilaError
from fila_lab.imaging.rgb import to_rgb


def load_image(path: str | Path) -> Image.Image:
    """An image file as upright RGB (`to_rgb`); of an animation, the first frame.

    Raises:
        FilaError: naming the file, where it is missing, no file, no image, damaged, too large, or has pixels that are no numbers.
    """
    name = f"image {str(path)!r}"
    try:
        kind = Path(path)
        if kind.is_dir():
            raise FilaError(f"{name} is a folder; give the path of one image in it")
        if kind.exists() and not kind.is_file():
            raise FilaError(f"{name} is no regular file; save the image and give its path")
        if kind.is_file() and not kind.stat().st_size:
            raise FilaError(f"{name} is empty; save it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged tags that change no pixel, and of large images it then reads
            # From an open file: an uncompressed TIFF that is stored lying down would be mapped by its upright size, and read askew.
            with kind.open("rb") as file, Image.open(file) as image:
                _mend_transparency(image)
                image.load()
                return _checked(to_rgb(image))
    except FileNotFoundError as error:
        raise FilaError(f"{name} does not exist; check the path") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise FilaError(f"{name} has more than {limit / 1e6:.0f} million pixels, more than is read from a file; scale it down") from error
    except FilaError as error:
        raise error if str(error).startswith(name) else FilaError(f"{name}: {error}") from error
    except PermissionError as error:
        raise FilaError(f"{name} may not be read ({error.strerror}); change its permissions") from error
    except Exception as error:  # whatever a decoder trips over in a damaged file: Pillow's plugins raise nearly every kind
        said = " ".join(str(error).replace(repr(str(path)), "it").split()) or type(error).__name__
        raise FilaError(f"{name} cannot be read ({said[:200]}); give an undamaged PNG, JPEG or other image file") from error


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


def _checked(image: Image.Image) -> Image.Image:
    if not (image.width and image.height):
        raise FilaError(f"it has no pixels ({image.width} x {image.height}); give an image with some")
    return image
