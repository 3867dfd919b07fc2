"""An item's page is drawn anew from a study's folder, published or not; what today's suite would ask otherwise is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fila_lab import draw_item
from fila_lab.config import FilaError, RunConfig
from fila_lab.data.seam.gallery import drawn_items
from fila_lab.studies.folder import read_plan

PUBLISHED = Path(__file__).parents[2] / "experiments" / "results"
ITEM = "test-reading-000012"


def test_every_published_study_has_its_pages() -> None:
    """Of one item each: a suite that draws others than were answered would be told of here."""
    for plan in sorted(PUBLISHED.glob("*/plan.json")):
        items = pd.read_parquet(plan.parent / "items.parquet", columns=["item_id", "place"])
        last = items["item_id"].iloc[-1]
        pages = draw_item(plan.parent, last)
        assert set(pages) == set(items.loc[items["item_id"] == last, "place"]), plan.parent.name
        assert all(page.width > 40 for page in pages.values())


def test_seams_and_target_are_drawn_into_the_page() -> None:
    content = read_plan(PUBLISHED / "remove_fusion")
    assert content is not None
    config = RunConfig.model_validate(content["cells"][0]["config"])
    plain = {item.place: item for item in drawn_items(config, ITEM)}
    for place, page in draw_item(PUBLISHED / "remove_fusion", ITEM).items():
        x0, y0, _, _ = plain[place].target_box
        assert page.size == plain[place].image.size
        assert page.getpixel((x0, y0)) == (20, 90, 220)
        assert page.tobytes() != plain[place].image.tobytes()


def test_what_has_no_page_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"item 'test-reading-999999': no finished cell of .* answered it"):
        draw_item(PUBLISHED / "remove_fusion", "test-reading-999999")
    with pytest.raises(FilaError, match="no readable plan"):
        draw_item(tmp_path, ITEM)
    changed = tmp_path / "changed"
    shutil.copytree(PUBLISHED / "remove_fusion", changed)
    plan = read_plan(changed)
    assert plan is not None
    for cell in plan["cells"]:
        cell["config"]["data"]["seam"]["seed"] = 99
    (changed / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(FilaError, match=f"item '{ITEM}': today's suite asks something else than was answered"):
        draw_item(changed, ITEM)
    with pytest.raises(FilaError, match="item 'oddly' is none of the seam suite's"):
        drawn_items(RunConfig.model_validate(plan["cells"][0]["config"]), "oddly")
