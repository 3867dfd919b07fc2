"""A report's figures as files and as what its page embeds."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.picture import Picture
from fila_lab.analysis.plots import CAPTIONS
from fila_lab.analysis.position_tables import POSITION_CAPTIONS
from fila_lab.analysis.schemes import both_schemes
from fila_lab.analysis.style import RC
from fila_lab.analysis.sweep_plots import SWEEP_CAPTIONS

DRAWN = {**SWEEP_CAPTIONS, **CAPTIONS, **POSITION_CAPTIONS}
"""Every figure, in the order in which they stand in the page of a text."""
SUMMARY_FIGURES = ("contrasts", "gaps", "cost")
"""What is published of a report; the rest is built from the published results."""
SWEEP_SUMMARY_FIGURES = ("front", "hypervolume", "cost")
"""The same of a sweep's report."""
FILES_ONLY = ("contrasts",)
"""What the page draws by itself."""


@dataclass(frozen=True)
class Image:
    """What a page embeds: a data URI of SVG (sharp, no ids that clash; percent-encoded, which is shorter than base64), its text in
    words, its width in CSS pixels."""

    data: str
    says: str
    width: int


@dataclass(frozen=True)
class Drawn:
    """A figure: its file's name, its caption, and its panels as images, none where only files were asked for."""

    name: str
    caption: str
    images: tuple[Image, ...] = ()


def draw_figures(
    findings: Findings, target: Path, names: Sequence[str] = tuple(DRAWN), formats: Sequence[str] = ("png", "svg")
) -> list[Drawn]:
    """Draw what there is of the names and save it in the formats. SVG follows the reader's light or dark scheme."""
    drawn = []
    with matplotlib.rc_context(RC):
        for name in names:
            draw, caption = DRAWN[name]
            if (name in ("contrasts", "differences") and findings.verdicts.empty) or (
                name in (*CAPTIONS, *POSITION_CAPTIONS) and findings.frame.empty
            ):
                continue
            made = draw(findings)
            if made is None:
                continue
            figure = made.whole() if isinstance(made, Picture) else made
            _settle(figure)
            if "png" in formats:
                figure.dpi = 160 if "svg" in formats else 110
                FigureCanvasAgg(figure).print_png(target / f"{name}.png")
            images: list[Image] = []
            if "svg" in formats:
                whole = _vector(figure)
                (target / f"{name}.svg").write_text(whole, encoding="utf-8")
                if isinstance(made, Picture) and len(made.panels) > 1:
                    images = [_image(_settle(panel), says) for says, panel in made.separate(figure)]
                elif name not in FILES_ONLY:
                    images = [_image(figure, made.panels[0].says if isinstance(made, Picture) else caption, whole)]
            drawn.append(Drawn(name, caption, tuple(images)))
    return drawn


def _settle(figure: Figure) -> Figure:
    """Layout is the costly part: solved once, then kept for all formats. (`savefig` would draw everything once more for each.)"""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    return figure


def _vector(figure: Figure) -> str:
    """SVG in both schemes, without comments and digits that nobody sees (a hundredth of a point)."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", buffer.getvalue().decode(), flags=re.DOTALL)
    text = re.sub(r'(?<= )(d|x|y)="[^"]*"', lambda found: re.sub(r"(\d\.\d\d)\d{4}\b", r"\1", found[0]), text)
    return both_schemes(re.sub(r"\s*\n\s*", " ", text))


def _image(figure: Figure, says: str, vector: str | None = None) -> Image:
    data = quote(vector or _vector(figure), safe=" =:/;,'()[]{}+-*@!?$|~^_.")
    return Image(f"data:image/svg+xml,{data}", says, round(figure.get_size_inches()[0] * 90))
