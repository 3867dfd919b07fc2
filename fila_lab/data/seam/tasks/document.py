"""`document`: fields of a form, a label above a value; the label addresses, the value answers. Questions write labels small."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import LABELS, QUESTIONS
from fila_lab.data.seam import content, render
from fila_lab.data.seam.code_blocks import TRIES, fit, weighted
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import Plate
from fila_lab.data.seam.tasks.base import Draft, Task
from fila_lab.data.seam.tasks.reading import likeliest_code, written

INKS = ("black", "blue")


class FormFields:
    """Draws the fields of one form: one font, ink and paper, all labels and values different."""

    def __init__(self, page: PageSetup) -> None:
        self.page, draw = page, page.draw
        self.font = page.one_of(page.fonts)
        self.paper = render.plate_colour(draw)
        self.ink = page.one_of(INKS)
        self.labels = page.shuffled(LABELS)
        self.first = ""
        self.used: set[str] = set()
        self.rule = max(1, round(0.5 * page.scale))
        self.apart = page.draws_apart(1)

    def field(self, short: bool = False) -> render.Block:
        """A field; `short`: as small as may be, with a value of one character. FilaError where no label or no value fits.

        Labels are small print; the first one never comes again, the others only when all were used.
        """
        page, draw = self.page, self.page.draw
        length = 1 if short else 1 + weighted(draw.random(), list(page.seam.code_length))
        cap = page.smallest if short else page.height()
        label_cap = page.smallest if short else round(draw.uniform(page.smallest, max(page.smallest, page.heights[0] * page.scale)))
        widest = page.tile - 2 * page.margin
        label = next((label for label in self.labels if fit(label, self.font, label_cap, 1, widest, page.pitch)), None)
        if label is None:
            raise page.no_room()
        for tries in range(TRIES):
            value = content.draw_code(draw, page.split, max(1, length - tries // 20))
            fitting = fit(value, self.font, cap, page.smallest, widest, page.pitch)
            if value in self.used or fitting is None:
                continue
            block = self._block(label, fit(label, self.font, label_cap, 1, widest, page.pitch) or 1, value, fitting)
            if page.fits(block):
                self.used.add(value)
                self.first = self.first or label
                self.labels.remove(label)
                self.labels += [] if self.labels else [other for other in LABELS if other != self.first]
                return block
        raise page.no_room()

    def short(self, block: render.Block) -> render.Block:
        """A small field in place of one that found no room."""
        return self.field(short=True)

    def _block(self, label: str, label_cap: int, value: str, cap: int) -> render.Block:
        margin, pitch = self.page.margin, self.page.pitch
        head, line = (render.draw_text(text, self.font, height, pitch) for text, height in ((label, label_cap), (value, cap)))
        width = max(head.coverage.shape[1], line.coverage.shape[1]) + 2 * margin
        gap = max(margin, pitch - min(head.coverage.shape[0], line.coverage.shape[0]))
        top = margin + head.coverage.shape[0] + gap
        plate = Plate(width, top + line.coverage.shape[0] + margin, self.paper)
        plate.frame(self.rule)
        plate.write(head, label, self.ink, "key", margin, margin, asked=self.apart)
        plate.write(line, value, self.ink, "code", margin, top, asked=True)
        return plate.block((1, top - gap, top) if self.apart else None)


class Document(Task):
    """A page is a form; "field tax?" asks for the value under the label TAX."""

    benchmark = "DocVQA"
    about = 'Form fields, a small label above a value; "field tax?" asks for the value under TAX.'
    fine_print = True
    most_marks = 7

    def draft(self, page: PageSetup) -> Draft:
        form = FormFields(page)
        blocks = [form.field() for _ in range(page.count + page.seam.clutter)]
        answer = written(blocks[0], "code")
        return Draft(blocks, QUESTIONS["document"].format(written(blocks[0], "key").lower()), answer, "label", len(answer), form.short)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return likeliest_code(seam)


TASK = Document()
