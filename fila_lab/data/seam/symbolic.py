"""Pages without pixels, for pretraining the answer model: which glyph lies where, questions and their answers.

For `reading` and `coarse` the layout follows the seam suite (code blocks asked by colour or key, or a panel), and the strings are random,
so no real code is learned here. Pages of the other tasks are the seam suite's own training items, unpainted; where their answers are
codes, three of four are made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import ALPHABET, COLOUR_NAMES, LAYOUTS, QUESTIONS
from fila_lab.data.parallel import in_chunks
from fila_lab.data.seam import content
from fila_lab.data.seam.page_setup import PITCH
from fila_lab.data.seam.suite import SeamSuite
from fila_lab.data.seam.truth import CLASSES, records_of

LETTERS = 26
PLATE = 1.5
"""Plate around the ink, canvas pixels."""
TRIES = 30
"""Places of a block, and pages, drawn before one is given up."""
CHUNK = 200
"""Pages drawn from one stream of random numbers."""
_OWN = ("reading", "coarse")
"""Tasks whose pages are laid out here."""
_CLASS = {name: index for index, name in enumerate(CLASSES)}

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SymbolicPage:
    """glyphs float32 [G, 4]: (class, colour, x, y), centres in canvas pixels; canvas (width, height); asked: (question, answer) pairs."""

    canvas: tuple[int, int]
    glyphs: np.ndarray
    asked: tuple[tuple[str, str], ...]
    task: str = ""


@dataclass(frozen=True)
class _Block:
    box: Box
    colour: int
    lines: tuple[str, ...]
    panel: str = ""


def symbolic_pages(
    seam: SeamConfig, geometry: GeometryConfig, count: int, seed: int, workers: int = 1, easy: bool = False
) -> list[SymbolicPage]:
    """`count` pages (a multiple of CHUNK), drawn with `workers` processes; which pages does not depend on their number."""
    chunks = [(seed, first) for first in range(0, count, CHUNK)]
    drawn = dict(in_chunks(_Pages, (seam, geometry, easy), chunks, workers, "symbolic pages"))
    return [page for _, first in chunks for page in drawn[first]]


class _Pages:
    """Draws a chunk of pages in a worker process."""

    def __init__(self, seam: SeamConfig, geometry: GeometryConfig, easy: bool) -> None:
        self.seam, self.geometry, self.easy = seam, geometry, easy

    def __call__(self, chunk: tuple[int, int]) -> tuple[int, list[SymbolicPage]]:
        generator = np.random.default_rng(chunk)
        return chunk[1], [symbolic_page(generator, self.seam, self.geometry, self.easy) for _ in range(CHUNK)]


def symbolic_page(generator: np.random.Generator, seam: SeamConfig, geometry: GeometryConfig, easy: bool = False) -> SymbolicPage:
    """One page, to be asked about any of its blocks. `easy`: codes of one character, asked by colour; what a beginner can find out.

    FilaError where no block fits on a canvas of two tiles a side at most, or there is none.
    """
    for _ in range(TRIES):
        page = _drawn(generator, seam, geometry, easy)
        if page is not None:
            return page
    raise FilaError(
        f"data.seam.text_height={list(seam.text_height)}: nothing can be drawn that fits on canvases of two tiles of {geometry.tile} px; "
        "choose a smaller text height"
    )


def _drawn(generator: np.random.Generator, seam: SeamConfig, geometry: GeometryConfig, easy: bool) -> SymbolicPage | None:
    """One page; None where its target found no room."""
    own, other = (sum(share for name, share in seam.tasks.items() if (name in _OWN) == mine) for mine in (True, False))
    if other > 0 and not easy and generator.random() < other / (own + other):
        return _of_the_suite(generator, seam, geometry)
    tile = geometry.tile
    canvases = _canvases(geometry)
    weights = np.array([w * h for w, h in canvases], float)
    canvas = canvases[int(generator.choice(len(canvases), p=weights / weights.sum()))]
    tiles = canvas[0] * canvas[1] // tile**2
    coarse = generator.random() < seam.tasks.get("coarse", 0.0) / (own or 1.0)
    keyed = not coarse and not easy and tiles == 4 and generator.random() < 2 * seam.by_key
    blocks: list[_Block] = []
    colours = [int(c) for c in generator.permutation(len(COLOUR_NAMES))]
    below = seam.below_height is not None and not coarse and generator.random() < seam.below_share
    height = generator.uniform(*(seam.below_height if below and seam.below_height is not None else seam.text_height))
    character = (min(10.0, height * generator.uniform(0.6, 0.85)), height)
    if below:  # spaced as on the suite's pages
        character = (PITCH * geometry.patch, PITCH * geometry.patch - PLATE)
    for number in range(min(tiles, seam.codes_per_page)):
        panel = LAYOUTS[int(generator.integers(len(LAYOUTS)))] if coarse and number == 0 else ""
        # Where keys address, the suite's blocks may share a colour.
        colour = int(generator.integers(len(content.PANEL_COLOURS if panel else COLOUR_NAMES))) if panel or keyed else colours[number]
        block = _place(generator, seam, canvas, character, colour, blocks, keyed, easy, panel)
        if block is not None:
            blocks.append(block)
    if not blocks or (coarse and not blocks[0].panel):
        return None
    glyphs = np.array([glyph for block in blocks for glyph in _glyphs(block, character)], np.float32)
    if coarse:
        return SymbolicPage(canvas, glyphs, ((QUESTIONS["coarse"], f"{COLOUR_NAMES[blocks[0].colour]} {blocks[0].panel}"),), "coarse")
    asked = tuple((QUESTIONS["reading"].format(b.lines[0] if keyed else COLOUR_NAMES[b.colour]), b.lines[-1]) for b in blocks)
    return SymbolicPage(canvas, glyphs, asked, "reading")


def _of_the_suite(generator: np.random.Generator, seam: SeamConfig, geometry: GeometryConfig) -> SymbolicPage:
    """A training item of a task that is not laid out here, on canvases of two tiles a side at most."""
    tasks = {name: share for name, share in seam.tasks.items() if name not in _OWN}
    suite = SeamSuite(seam.model_copy(update={"tasks": tasks}), geometry.model_copy(update={"canvases": tuple(_canvases(geometry))}))
    index = int(generator.integers(2**31))
    task, canvas, _ = suite.heading("train", index)
    draft, glyphs = suite.unpainted("train", index)
    return SymbolicPage(canvas, records_of(glyphs, geometry.patch / suite.patch)[:, :4], ((draft.question, draft.answer),), task)


def _canvases(geometry: GeometryConfig) -> list[tuple[int, int]]:
    found = [canvas for canvas in geometry.canvases if max(canvas) == 2 * geometry.tile]
    if not found:
        raise FilaError(
            f"geometry.canvases={[list(canvas) for canvas in geometry.canvases]}: pages without pixels have canvases of two tiles of "
            f"{geometry.tile} px along the longer side, and none is; add one"
        )
    return found


def _place(
    generator: np.random.Generator,
    seam: SeamConfig,
    canvas: tuple[int, int],
    character: tuple[float, float],
    colour: int,
    others: list[_Block],
    keyed: bool,
    easy: bool,
    panel: str,
) -> _Block | None:
    """A block where it touches no other; None where none was found."""
    for _ in range(TRIES):
        lines: tuple[str, ...] = ()
        if panel:
            width = height = generator.uniform(22, 26) + 2 * PLATE
        else:
            length = 1 if easy else 1 + int(generator.choice(4, p=np.array(seam.code_length) / sum(seam.code_length)))
            lines = (_string(generator, LETTERS, 2),) if keyed else ()
            lines = (*lines, _string(generator, len(ALPHABET), length))
            width = max(map(len, lines)) * character[0] + 2 * PLATE
            height = len(lines) * (character[1] + PLATE) + PLATE
        if width >= canvas[0] or height >= canvas[1]:
            continue
        x, y = generator.uniform(0, canvas[0] - width), generator.uniform(0, canvas[1] - height)
        box = (x, y, x + width, y + height)
        clear = all(x >= b.box[2] or b.box[0] >= box[2] or y >= b.box[3] or b.box[1] >= box[3] for b in others)
        if clear and not any(set(lines) & set(b.lines) for b in others):
            return _Block(box, colour, lines, panel)
    return None


def _string(generator: np.random.Generator, alphabet: int, length: int) -> str:
    return "".join(ALPHABET[int(index)] for index in generator.integers(alphabet, size=length))


def _glyphs(block: _Block, character: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    x0, y0, x1, y1 = block.box
    if block.panel:
        return [(_CLASS[block.panel], block.colour, (x0 + x1) / 2, (y0 + y1) / 2)]
    found: list[tuple[float, float, float, float]] = []
    for row, line in enumerate(block.lines):
        start = (x0 + x1 - len(line) * character[0]) / 2
        y = y0 + PLATE + row * (character[1] + PLATE) + character[1] / 2
        found += [(_CLASS[c], block.colour, start + (column + 0.5) * character[0], y) for column, c in enumerate(line)]
    return found


def recoloured(page: SymbolicPage, generator: np.random.Generator) -> SymbolicPage:
    """The page with its colours exchanged, and in `reading` and `table` its letters and digits too, on page, question and answer alike.

    So that a model which sees a page many times has nothing to learn by heart. A panel keeps its colours: it has only some of them.
    """
    colours = np.arange(len(COLOUR_NAMES)) if page.task == "coarse" else generator.permutation(len(COLOUR_NAMES))
    glyphs = page.glyphs.copy()
    glyphs[:, 1] = colours[glyphs[:, 1].astype(int)]
    words = {name: COLOUR_NAMES[colours[index]] for index, name in enumerate(COLOUR_NAMES)}
    if page.task in ("reading", "table"):
        classes = np.arange(len(CLASSES))
        for part in (slice(0, LETTERS), slice(LETTERS, len(ALPHABET))):
            classes[part] = generator.permutation(classes[part])
        glyphs[:, 0] = classes[glyphs[:, 0].astype(int)]
        words |= {name: ALPHABET[classes[index]] for index, name in enumerate(ALPHABET)}
    return replace(page, glyphs=glyphs, asked=tuple((_replaced(q, words), _replaced(a, words)) for q, a in page.asked))


def _replaced(text: str, words: dict[str, str]) -> str:
    """`text` with its lower-case words and single characters replaced where `words` knows them."""
    return re.sub(r"[a-z]+|.", lambda found: words.get(found.group(), found.group()), text)
