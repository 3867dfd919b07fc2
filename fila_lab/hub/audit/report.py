"""An audit in words and numbers: sentences, a Markdown page, JSON, and the answers one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.analysis.bootstrap import FEW_CLUSTERS
from fila_lab.config.faults import cannot_write
from fila_lab.config.files import write_atomically
from fila_lab.config.hashing import config_hash
from fila_lab.data.seam.opened import code_state
from fila_lab.data.seam.tasks import get_task
from fila_lab.hub.audit.figures import Figure
from fila_lab.hub.audit.run import Audit

FILES = ("audit.json", "audit.md", "answers.jsonl")
"""What a report's folder holds; by the first it is known as one."""
FLOOR, CEILING = 0.2, 0.9
"""Accuracies at the sham place outside which a gap is squeezed."""
MEANINGS = {
    "accuracy/cut": "right where a seam cuts the target",
    "accuracy/sham": "right across a mere border of patches, in the same phase",
    "accuracy/intact": "right within a patch, as far as the target fits",
    "seam_gap": "accuracy(sham) - accuracy(cut): the price of a seam",
    "sham_gap": "accuracy(intact) - accuracy(sham): the price of a mere patch border",
    "fragmentation": "fragmentation error: right at the sham place, wrong when cut",
    "fragmentation_reverse": "the reverse: wrong at the sham place, right when cut",
}
CONTROL = (
    "This model sees the page in one crop: nothing is cut where `tiles` meet here. It is a control, and shows what the instrument reports "
    "where there is no cause."
)


@dataclass(frozen=True)
class Subject:
    """What was audited: the model as named, what it is, how it cuts, and on what it ran."""

    name: str
    model: str
    processor: str
    tiling: str
    setting: Mapping[str, str]


def conclusion(audit: Audit) -> str:
    """What was found, in a sentence or two."""
    right, asked = audit.confirmed
    if audit.figures is None:
        tried = " to ".join(map(str, sorted({min(audit.tried), max(audit.tried)}))) if audit.tried else ""
        where = f"at any height tried ({tried} px)" if tried else f"at a text height of {audit.height} px"
        return (
            f"The model cannot read `{audit.task}` {where}: at {audit.height} px {right} of {asked} intact items are right, and "
            f"chance is {audit.chance:.1%}. A gap would say nothing, so none is given."
        )
    gap = audit.figures["seam_gap"]
    measured = f"{100 * gap.value:.1f} points [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    if audit.page.control:
        lies = "holds" if gap.low <= 0 <= gap.high else "does NOT hold"
        return f"Control: the interval of the gap {lies} zero, as it should: {measured}. No seam is there to cause one."
    if gap.low > 0:
        return f"Targets that a seam cuts are read worse than at their sham place, by {measured}."
    if gap.high < 0:
        return f"Targets that a seam cuts are read better than at their sham place, by {measured}, which no seam explains."
    return f"No seam gap was found: {measured}. One of up to {100 * gap.high:.1f} points could have been overlooked with so many triplets."


def remarks(audit: Audit) -> list[str]:
    """What speaks against believing the figures, and what they stand for."""
    found = [CONTROL] if audit.page.control else []
    figures = audit.figures
    if figures is None:
        return found
    if audit.end == "tallest":
        found.append(
            f"The model reads less than was aimed at even at {audit.height} px, the greatest text height that pages of these tiles have."
        )
    if audit.end == "smallest":
        found.append(f"The model still reads most at {audit.height} px, the smallest text height there is.")
    sham = figures["accuracy/sham"].value
    if not FLOOR <= sham <= CEILING:
        where, remedy = ("floor", "larger") if sham < FLOOR else ("ceiling", "smaller")
        found.append(f"Accuracy at the sham place is near the {where}, where a gap is squeezed; a {remedy} --text-height may show more.")
    if figures.images < FEW_CLUSTERS:
        found.append(f"Intervals over {figures.images} images are too narrow; ask more --items.")
    return found


def content(subject: Subject, audits: Sequence[Audit]) -> dict[str, Any]:
    """Everything but the answers, as JSON has it; `items` is equal where the same code and fonts drew them."""
    return {
        "model": subject.name,
        "class": subject.model,
        "processor": subject.processor,
        "tiling": subject.tiling,
        "setting": dict(subject.setting),
        "items": config_hash({"code": code_state()}),
        "tasks": {audit.task: _task(audit) for audit in audits},
    }


def markdown(subject: Subject, audits: Sequence[Audit]) -> str:
    """The report as a page."""
    setting = ", ".join(f"{name} {value}" for name, value in subject.setting.items())
    lines = [
        f"# Seam audit of {subject.name}",
        "",
        f"{subject.model}, images through {subject.processor} ({subject.tiling}); {setting}.",
        "Generated pages; places and intervals as in docs/how_to/audit.md.",
    ]
    for audit in audits:
        lines += ["", f"## {audit.task}", "", conclusion(audit), "", *(f"- {line}" for line in [*facts(audit), *remarks(audit)])]
        if audit.figures is not None:
            lines += ["", "| figure | value | 95 % interval | meaning |", "|---|---|---|---|"]
            lines += [f"| {' | '.join((name, *cells, MEANINGS[name]))} |" for name, *cells in figure_rows(audit)]
        if audit.tried:
            lines += ["", "| text height, px | intact items right | of |", "|---|---|---|"]
            lines += [f"| {height} | {right} | {asked} |" for height, (right, asked) in sorted(audit.tried.items())]
    return "\n".join(lines) + "\n"


def facts(audit: Audit) -> list[str]:
    """Page, height and numbers, a line each."""
    page, (right, asked) = audit.page, audit.confirmed
    tiles = f"{page.tiles[0]} x {page.tiles[1]} tiles of {page.tile} px, {page.patch} px a visual token"
    found = [
        f"Pages of {page.size[0]} x {page.size[1]} px: {tiles}.",
        f"Capitals are {audit.height} px high: {right} of {asked} intact items right, where chance is {audit.chance:.1%}.",
        f"Stands for {get_task(audit.task).benchmark}.",
    ]
    if audit.figures is not None:
        found.append(f"{audit.figures.triplets} triplets on {audit.figures.images} images.")
    return found


def figure_rows(audit: Audit) -> list[tuple[str, str, str]]:
    """(name, value, interval) of each figure, as text."""
    assert audit.figures is not None
    return [(name, _share(one.value), f"[{_share(one.low)}, {_share(one.high)}]") for name, one in audit.figures.by_name.items()]


def write_report(out: Path, subject: Subject, audits: Sequence[Audit]) -> None:
    """Write audit.json, audit.md and answers.jsonl into a folder.

    Raises:
        MachineError: it cannot be written.
    """
    rows = [row for audit in audits for row in audit.answers.to_dict("records")]
    texts = {
        "answers.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "audit.md": markdown(subject, audits),
        "audit.json": json.dumps(content(subject, audits), indent=2, ensure_ascii=False) + "\n",
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(out / name, text.encode())
    except OSError as error:
        raise cannot_write(error, f"--out = {out}: the report", "choose another folder") from error


def _task(audit: Audit) -> dict[str, Any]:
    page, figures = audit.page, audit.figures
    return {
        "conclusion": conclusion(audit),
        "remarks": remarks(audit),
        "reads": audit.reads,
        "control": page.control,
        "page": {"size": list(page.size), "tiles": list(page.tiles), "tile": page.tile, "patch": page.patch},
        "chance": audit.chance,
        "text_height": audit.height,
        "intact": dict(zip(("right", "asked"), audit.confirmed, strict=True)),
        "heights": {str(height): {"right": right, "asked": asked} for height, (right, asked) in sorted(audit.tried.items())},
        "search_ended": audit.end or ("settled" if audit.tried else "given"),
        "triplets": 0 if figures is None else figures.triplets,
        "images": 0 if figures is None else figures.images,
        "figures": {} if figures is None else {name: _figure(one) for name, one in figures.by_name.items()},
    }


def _figure(one: Figure) -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}


def _share(value: float) -> str:
    return f"{value:.3f}"
