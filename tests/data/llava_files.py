"""Small data sets in LLaVA's format, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.llava import LlavaSuite, open_llava
from fila_lab.data.suite import Opening

GEOMETRY = GeometryConfig(tile=42, patch=14, canvases=((42, 42), (84, 42), (42, 84)), detail_cells=3)


def talk(*texts: str) -> list[dict[str, str]]:
    """Question, answer, question, ... as turns."""
    return [{"from": "gpt" if number % 2 else "human", "value": text} for number, text in enumerate(texts)]


def draw(folder: Path, *names: str, size: tuple[int, int] = (20, 12)) -> None:
    """Images of different pixels."""
    for name in names:
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


def write(path: Path, rows: Sequence[Any], **style: Any) -> Path:
    """Rows as a JSON list, or, by the path's ending, as JSON lines or parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, **style) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows, **style), encoding="utf-8")
    return path


def opened(cache: Path, path: Path | Sequence[Path], **options: Any) -> LlavaSuite:
    """The suite of some files."""
    paths: Any = str(path) if isinstance(path, Path) else [str(one) for one in path]
    return open_llava(Opening(options={"path": paths, **options}, geometry=GEOMETRY, cache_dir=cache))


def said(suite: LlavaSuite, split: str = "train") -> list[tuple[str, list[tuple[str, str]], str]]:
    """(item's id, turns, image's name) of every item."""
    items = [item for index in range(suite.length(split)) for item in suite.items(split, index)]
    return [(item.item_id, [(turn.question, turn.answers[0]) for turn in item.turns], item.known["image"]) for item in items]


def reasons(suite: LlavaSuite, split: str = "train") -> Mapping[str, str]:
    """Row -> why it is set aside."""
    return {aside.row: aside.reason for aside in suite.set_aside(split)}
