"""Colours in the reader's two schemes: how a page and its figures look on a light and on a dark ground, and what is legible there."""

from __future__ import annotations

import colorsys
import re

LIGHT_GROUND, DARK_GROUND = "#ffffff", "#14181c"
LIGHT_INK, DARK_INK = "#1d2228", "#e4e8ec"
LEGIBLE = 4.5
"""Contrast that text needs against its ground (WCAG 2, level AA)."""
SHAPE = 3.0
"""The same of lines and marks."""
GREY = 0.12
"""Saturation below which a colour is a grey: of ink, frames and grids, which change places with the ground."""
_HEX = re.compile(r"(?:fill|stroke): (#[0-9a-f]{6})")


def contrast(one: str, other: str) -> float:
    """1 to 21, of two colours as `#rrggbb`."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ink_on(ground: str) -> str:
    """Black or white, whichever is read better; one of them always is legible."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, ground))


def in_dark(colour: str) -> str:
    """What stands for a colour of the light scheme in the dark one: greys turn about, hues grow lighter until they are seen."""
    red, green, blue = _parts(colour)
    if colorsys.rgb_to_hsv(red, green, blue)[1] < GREY:
        return mixed(DARK_INK, DARK_GROUND, (red + green + blue) / 3)
    return legible(colour, DARK_GROUND, SHAPE + 1)


def legible(colour: str, ground: str, least: float = LEGIBLE) -> str:
    """The colour, mixed with white or black, as the ground asks, as far as contrast needs."""
    for step in range(21):
        made = mixed(colour, ink_on(ground), step / 20)
        if contrast(made, ground) >= least:
            return made
    return ink_on(ground)


def mixed(one: str, other: str, share: float) -> str:
    """`one`, a share of it replaced by `other`."""
    return "#" + "".join(f"{round(255 * (a + (b - a) * share)):02x}" for a, b in zip(_parts(one), _parts(other), strict=True))


def both_schemes(svg: str) -> str:
    """matplotlib's SVG that follows the reader's scheme wherever it is shown, by rules of its own for each of its colours."""
    colours = sorted(set(_HEX.findall(svg)))
    rules = [f"svg{{fill:{DARK_INK}}}"]  # text that says no colour is black
    for colour in colours:
        rules += [f'[style*="{kind}: {colour}"]{{{kind}:{in_dark(colour)}!important}}' for kind in ("fill", "stroke")]
    sheet = f"<style>@media (prefers-color-scheme: dark){{{''.join(rules)}}}</style>"
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found[0] + sheet, svg, count=1)


def _parts(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _parts(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
