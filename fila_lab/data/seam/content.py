"""What items are made of, and which split may use it: fonts, photos, code strings, keys, colours and panel layouts.

Everything comes from installed packages: fonts from matplotlib, photos from scikit-image and scikit-learn (only files inside their
wheels; nothing is downloaded), strings from pycountry, and made up for training. `train` and `val` share fonts and photos and differ in
strings; `test` shares nothing with them, except what cannot be kept apart: single characters (a code of one character is a glyph every
reader must have seen), colours, shapes, panel layouts, and the labels of form fields.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.seam_words import ALPHABET, COLOUR_NAMES
from fila_lab.data.suite import Split, as_split

MADE_UP = 0.75
"""Share of training's strings of two and more characters that are made up. The tables alone are few enough (258 codes of two characters) to
be learned by heart, and a reader that recites fails on strings it has not seen: with the truth itself as detail map it read two of five.
"""

_RGB = ((208, 20, 20), (20, 130, 30), (25, 50, 225), (235, 125, 0), (115, 30, 165), (15, 15, 15), (0, 165, 185), (240, 60, 170))
COLOURS: dict[str, tuple[int, int, int]] = dict(zip(COLOUR_NAMES, _RGB, strict=True))
"""Text colours, all darker than a plate; the names are what questions and answers say."""
PANEL_COLOURS: tuple[str, ...] = COLOUR_NAMES[:6]

_FONTS: dict[str, tuple[str, ...]] = {
    "train": (
        "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique",
        "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique", "DejaVuSansMono-Oblique",
        "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralItalic", "STIXGeneralBolIta",
        "cmb10", "cmr10", "cmti10", "cmtt10",
    ),
    "test": ("DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif-Bold", "STIXGeneralBol", "cmss10"),
}  # fmt: skip

# Without pictures of text (page, text), logos and charts: they would be read as distractors without a plate.
_PHOTOS: dict[str, tuple[str, ...]] = {
    "train": (
        "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "flower.jpg", "grass.png",
        "hubble_deep_field.jpg", "motorcycle_left.png", "motorcycle_right.png", "retina.jpg",
    ),
    "test": ("china.jpg", "coffee.png", "coins.png", "gravel.png", "ihc.png", "moon.png", "rocket.jpg"),
}  # fmt: skip

SCIKIT_LEARN = ("china.jpg", "flower.jpg")
_CODE = re.compile(r"[A-Z0-9]{1,4}")


def package_file(package: str, relative: str) -> Path:
    """A file inside an installed package, which is not imported. FilaError where package or file is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FilaError(f"package {package} is not installed, but the items are made of its files; install it (pip install {package})")
    path = Path(spec.origin).parent / relative
    if not path.is_file():
        raise FilaError(f"{package} does not carry {relative} at {path}; reinstall {package} from its wheel")
    return path


def source(split: str) -> str:
    """`train` or `test`: whose fonts, photos and tables a split uses. FilaError for an unknown split."""
    return "test" if as_split(split) == "test" else "train"


@cache
def fonts(split: str, group: str = "all") -> tuple[Path, ...]:
    """Font files of a group (all, sans, serif, mono) a split may draw with; test fonts are never seen in training."""
    names = [name for name in _FONTS[source(split)] if group in ("all", font_group(name))]
    return tuple(package_file("matplotlib", f"mpl-data/fonts/ttf/{name}.ttf") for name in names)


def font_group(name: str) -> str:
    """`sans`, `serif` or `mono`, of a font file's stem."""
    if "Mono" in name or name == "cmtt10":
        return "mono"
    return "sans" if name.startswith("DejaVuSans") or name == "cmss10" else "serif"


@cache
def photos(split: str) -> tuple[str, ...]:
    """Names of the photos a split may use as page background."""
    return _PHOTOS[source(split)]


@cache
def photo(name: str, short_side: int) -> np.ndarray:
    """The photo as uint8 [H, W, 3], resized so that its shorter side has `short_side` px. Cached per process."""
    path = package_file("sklearn", f"datasets/images/{name}") if name in SCIKIT_LEARN else package_file("skimage", f"data/{name}")
    with Image.open(path) as file:
        image = file.convert("RGB")
    factor = short_side / min(image.size)
    size = (max(short_side, round(image.width * factor)), max(short_side, round(image.height * factor)))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def split_of(text: str) -> Split:
    """The split that owns a string of two or more characters: 70 % train, 10 % val, 20 % test, by its hash."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % 100
    return "train" if share < 70 else "val" if share < 80 else "test"


@cache
def _tables() -> tuple[dict[int, tuple[str, ...]], tuple[str, ...]]:
    import pycountry

    keys = sorted(country.alpha_2 for country in pycountry.countries)
    found = [part for country in pycountry.countries for part in (country.alpha_3, country.numeric)]
    found += [part for currency in pycountry.currencies for part in (currency.alpha_3, currency.numeric)]
    found += [part for script in pycountry.scripts for part in (script.alpha_4, script.numeric)]
    found += [part for language in pycountry.languages for part in (language.alpha_3, getattr(language, "alpha_2", ""))]
    found += [subdivision.code.split("-", 1)[1] for subdivision in pycountry.subdivisions]
    found += [getattr(country, "alpha_4", "") for country in pycountry.historic_countries]
    codes = {code for code in (text.upper() for text in found) if _CODE.fullmatch(code)} - set(keys)
    return {length: tuple(sorted(code for code in codes if len(code) == length)) for length in (1, 2, 3, 4)}, tuple(keys)


@cache
def codes(split: str, length: int) -> tuple[str, ...]:
    """Code strings of `length` 1..4 a split may ask for, from the country, currency, script, language and subdivision tables.

    Strings of two or more characters are disjoint between splits; the 35 single characters are the same everywhere.
    """
    source(split)
    strings = _tables()[0][length]
    return strings if length == 1 else tuple(code for code in strings if split_of(code) == split)


@cache
def _by_digits(split: str, length: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    strings = codes(split, length)
    return tuple(c for c in strings if c.isalpha()), tuple(c for c in strings if not c.isalpha())


def draw_code(generator: np.random.Generator, split: str, length: int) -> str:
    """A code string.

    A third of the tables' codes of two or three characters contain a digit, where in the tables one in ten does: digits have to be read
    often enough.
    """
    if split == "train" and length > 1 and generator.random() < MADE_UP:
        return _made_up(generator, codes(split, 1), length)
    pool, digits = _by_digits(split, length)
    if length not in (2, 3):
        pool += digits
    elif generator.random() < 1 / 3:
        pool = digits
    return pool[int(generator.integers(len(pool)))]


def likeliest(split: str, length: int) -> float:
    """Probability of the likeliest code of a length, of those that `draw_code` takes from the tables."""
    alphabetic, digits = _by_digits(split, length)
    if length not in (2, 3):
        return 1 / len(alphabetic + digits)
    return max(1 / 3 / len(digits), 2 / 3 / len(alphabetic))


def _made_up(generator: np.random.Generator, characters: Sequence[str], length: int) -> str:
    """A random string that the training split owns."""
    while True:
        text = "".join(characters[int(index)] for index in generator.integers(len(characters), size=length))
        if split_of(text) == "train":
            return text


@cache
def keys(split: str) -> tuple[str, ...]:
    """Keys: ISO country codes of two letters, disjoint between splits.

    A page pairs them with codes at random: real pairs (FR, FRA) could be answered without looking.
    """
    source(split)
    return tuple(key for key in _tables()[1] if split_of(key) == split)


@cache
def most_keys(split: str) -> int:
    """How many different keys `draw_keys` can draw; in training made-up ones too."""
    return sum(split_of(a + b) == split for a in ALPHABET[:26] for b in ALPHABET[:26]) if split == "train" else len(keys(split))


def draw_keys(generator: np.random.Generator, split: str, count: int) -> list[str]:
    """`count` different keys. FilaError where there are not so many."""
    known = keys(split)
    if count > (most := most_keys(split)):
        raise FilaError(
            f"data.seam.codes_per_page + data.seam.clutter = {count}: split {split} has only {most} keys, and no two blocks of a page "
            "share one; choose less clutter"
        )
    drawn: list[str] = []
    while len(drawn) < count:
        made_up = split == "train" and generator.random() < MADE_UP
        key = _made_up(generator, ALPHABET[:26], 2) if made_up else known[int(generator.integers(len(known)))]
        if key not in drawn:
            drawn.append(key)
    return drawn
