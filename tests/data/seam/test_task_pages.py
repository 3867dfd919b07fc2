"""Pages of all tasks where other rooms use them: pools, pages without pixels, and pages for the towers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from oracle_readers import answer, seen

from fila_lab.config import resolve_run
from fila_lab.config.data import SEAM_TASKS, DataConfig, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import WORDS
from fila_lab.data.seam import SeamSuite, glyph_records, seam_pool
from fila_lab.data.seam.symbolic import symbolic_page

NAMES = SEAM_TASKS
MIXED = {name: 1 / len(NAMES) for name in NAMES}


def test_a_pool_has_room_for_the_marks_of_every_task(geometry: GeometryConfig, tmp_path: Path) -> None:
    data = DataConfig(seam=SeamConfig(page_scale=1, text_height=(10, 14), tasks=MIXED, clutter=2), val_pool=40)
    pool = seam_pool(data, geometry, "val", tmp_path)
    suite = SeamSuite(data.seam, geometry)
    assert len(set(pool.meta["task"])) > 6
    for row in range(0, 40, 3):
        item = suite.item("val", row)
        group, (place,) = pool.locate([row])
        records = glyph_records(item)
        assert group.counts[place] == len(records)
        assert np.array_equal(group.glyphs[place, : len(records)], records)
        assert pool.meta.iloc[row]["evidence"] == item.evidence


def test_pages_without_pixels_ask_as_the_suite_does() -> None:
    shares = {f"data.seam.tasks.{name}": share for name, share in MIXED.items()}
    config = resolve_run("mini", shares)
    generator = np.random.default_rng(0)
    asked: dict[str, int] = dict.fromkeys(NAMES, 0)
    first = {"field": "document", "cell": "table", "bar": "chart", "count": "counting", "mark": "attribute", "layout?": "coarse"}
    for _ in range(150):
        page = symbolic_page(generator, config.data.seam, config.geometry)
        assert (page.glyphs[:, 2:] >= 0).all()
        assert (page.glyphs[:, 2:] <= page.canvas).all()
        words = page.asked[0][0].split()
        task = first.get(words[0]) or ("reading" if len(words) == 1 else "spatial" if "from" in words else "presence")
        asked[task] += 1
        if task in ("counting", "attribute", "spatial"):  # whose marks have one role
            role = np.full((len(page.glyphs), 2), (1.0, 3.0))
            assert answer(task, page.asked[0][0], seen(np.hstack([page.glyphs, role]))) == page.asked[0][1]
    assert min(asked.values()) >= 5


def test_no_word_of_the_suite_is_spelt_letter_by_letter(geometry: GeometryConfig) -> None:
    suite = SeamSuite(SeamConfig(page_scale=1, text_height=(10, 14), tasks=MIXED), geometry)
    drafts = [suite.unpainted("train", index)[0] for index in range(300)]
    said = {word for draft in drafts for word in re.findall("[a-z]+", f"{draft.question} {draft.answer}")}
    assert said <= set(WORDS)
