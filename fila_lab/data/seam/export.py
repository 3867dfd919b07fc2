"""Items as files for other tools: pages as PNG, questions and answers as LLaVA-format JSON, a table of what is known, and a data card.

An export is written beside its folder, in `<folder>.partial-<key>`, and renamed when complete. It can be stopped at any time: the same
command goes on where it was. Its bytes depend on the settings, the split and the number of items alone, not on the workers.
"""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.data import SeamConfig
from fila_lab.config.faults import cannot_write
from fila_lab.config.files import file_lock, sync, write_atomically, written_for
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.hashing import config_hash
from fila_lab.config.json_files import read_json
from fila_lab.data.parallel import Progress, in_chunks
from fila_lab.data.seam.card import data_card
from fila_lab.data.seam.opened import code_state
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.data.suite import as_split

SCHEMA = 2
CHUNK = 32
"""Items between two points at which a stopped export goes on."""
PNG_LEVEL = 1
"""Compression: higher levels take several times as long to save a few percent."""
_OF_AN_ITEM = (
    "item_id", "split", "task", "place", "question", "answer", "image_id", "cut_fraction", "axis", "addressing", "length", "evidence",
    "height_class",
)  # fmt: skip
FIELDS: tuple[str, ...] = (*_OF_AN_ITEM, "index", "distractors", "canvas", "image", "x0", "y0", "x1", "y1", "marks")


def export(
    seam: SeamConfig, geometry: GeometryConfig, split: str, items: int, out: Path, workers: int = 1, progress: Progress | None = None
) -> dict[str, int]:
    """Writes the first `items` items of a split (test: all places of each) into `out`; returns task -> items.

    Raises:
        FilaError: the folder holds something else.
        MachineError: it cannot be written, or the disk is full; the same call goes on where it was.
    """
    as_split(split)
    if items < 1:
        raise FilaError(f"items={items}: there is nothing to export; choose at least 1")
    out = Path(out).absolute()
    key = export_key(seam, geometry, split, items)
    partial = out.with_name(f"{out.name}.partial-{key}")
    try:
        if _finished(out, key):
            return _counts(out)
        (partial / "images").mkdir(parents=True, exist_ok=True)
        (partial / "chunks").mkdir(exist_ok=True)
        with file_lock(partial):
            if not _finished(out, key):
                _write(partial, seam, geometry, split, items, key, workers, progress)
                for path in (partial / "images").iterdir():
                    sync(path)
                partial.rename(out)
        return _counts(out)
    except OSError as error:
        raise cannot_write(error, f"out={out}: the export", "choose another folder") from error


def export_key(seam: SeamConfig, geometry: GeometryConfig, split: str, items: int) -> str:
    """16 hex digits over all that the bytes of an export depend on."""
    state = {"schema": SCHEMA, "split": split, "items": items, "seam": seam.model_dump(mode="json"), "code": code_state()}
    return config_hash(state | {"geometry": geometry.model_dump(mode="json")})


def _finished(out: Path, key: str) -> bool:
    """Whether `out` is this export already; FilaError where it is something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if _key(out) == key:
        return True
    raise FilaError(f"out={out} exists and holds something else (or an export of other settings); choose another folder, or remove it")


def _key(out: Path) -> str | None:
    """The key of a finished export; None where the folder is none."""
    try:
        content = read_json(out / "export.json")
    except (OSError, ValueError):
        return None
    return content.get("key") if isinstance(content, dict) else None


def _counts(out: Path) -> dict[str, int]:
    counts: dict[str, int] = read_json(out / "export.json")["items"]
    return counts


def _write(
    partial: Path, seam: SeamConfig, geometry: GeometryConfig, split: str, items: int, key: str, workers: int, progress: Progress | None
) -> None:
    import pandas as pd

    starts = range(0, items, CHUNK)
    missing = [(start, min(items, start + CHUNK)) for start in starts if not _drawn(partial, start)]
    done = items - sum(stop - start for start, stop in missing)
    what = f"exporting {split} items"
    for size in in_chunks(_Exporter, (partial, seam, geometry, split), missing, workers, f"{split} items"):
        done += size
        if progress:
            progress(what, done, items)
    lines = [json.loads(line) for start in starts for line in _chunk(partial, start).read_text(encoding="utf-8").splitlines()]
    counts = dict(sorted(Counter(line["task"] for line in lines if line["place"] == lines[0]["place"] or split != "test").items()))
    _put(partial / f"{split}.json", json.dumps([_conversation(line) for line in lines], indent=1).encode() + b"\n")
    table = io.BytesIO()
    pd.DataFrame(lines, columns=list(FIELDS)).to_parquet(table, index=False)
    _put(partial / f"{split}.parquet", table.getvalue())
    _put(partial / "README.md", data_card(seam, geometry, counts, split).encode())
    settings = {"seam": seam.model_dump(mode="json"), "geometry": geometry.model_dump(mode="json")}
    _put(partial / "export.json", json.dumps({"key": key, "split": split, "items": counts} | settings, indent=1).encode() + b"\n")
    shutil.rmtree(partial / "chunks")
    for path in partial.rglob(".*.tmp"):  # of processes that were killed
        if written_for(path.name) is not None:
            path.unlink()


def _conversation(line: dict[str, Any]) -> dict[str, Any]:
    """An entry of LLaVA's training and evaluation format."""
    turns = [{"from": "human", "value": f"<image>\n{line['question']}"}, {"from": "gpt", "value": line["answer"]}]
    return {"id": Path(line["image"]).stem, "image": line["image"], "data_source": line["task"], "conversations": turns}


class _Exporter:
    """Draws a range of items: their pages first, then, at once, the lines that say they are there."""

    def __init__(self, partial: Path, seam: SeamConfig, geometry: GeometryConfig, split: str) -> None:
        self.partial, self.suite, self.split = partial, SeamSuite(seam, geometry), split

    def __call__(self, span: tuple[int, int]) -> int:
        lines = []
        for index in range(*span):
            items = self.suite.placed(self.split, index) if self.split == "test" else (self.suite.item(self.split, index),)
            for item in items:
                image = f"images/{item.item_id}-{item.place}.png"
                page = io.BytesIO()
                item.image.save(page, "PNG", compress_level=PNG_LEVEL)
                _put(self.partial / image, page.getvalue())
                lines.append(json.dumps(_line(item, index, image)) + "\n")
        _put(_chunk(self.partial, span[0]), "".join(lines).encode())
        return span[1] - span[0]


def _line(item: SeamItem, index: int, image: str) -> dict[str, Any]:
    box = dict(zip(("x0", "y0", "x1", "y1"), item.target_box, strict=True))
    marks = json.dumps([[glyph.char, glyph.colour, glyph.role, *glyph.box] for glyph in item.glyphs])
    known = {name: getattr(item, name) for name in _OF_AN_ITEM} | {"index": index, "distractors": len(item.shown)}
    return known | {"canvas": f"{item.canvas[0]}x{item.canvas[1]}", "image": image, "marks": marks} | box


def _chunk(partial: Path, start: int) -> Path:
    return partial / "chunks" / f"{start:07d}.jsonl"


def _drawn(partial: Path, start: int) -> bool:
    """Whether a chunk's lines and all their pages are there: a machine that lost its power leaves empty or cut files."""
    try:
        lines = [json.loads(line) for line in _chunk(partial, start).read_text(encoding="utf-8").splitlines()]
        for line in lines:
            with Image.open(partial / line["image"]) as page:
                page.load()
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):  # the last is Pillow's for a broken PNG
        return False
    return bool(lines)


def _put(path: Path, content: bytes) -> None:
    """Whole or not at all, however often the process is killed; what a machine's stop leaves, `_drawn` looks at."""
    write_atomically(path, content, durable=False)


__all__ = ["FIELDS", "export", "export_key"]
