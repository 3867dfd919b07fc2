"""Two ranges of text heights in one suite: one legible on the canvas, one in the detail input alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.data import DataConfig, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_identity import seam_identity
from fila_lab.config.study import Family
from fila_lab.data.seam.opened import Seam
from fila_lab.data.seam.suite import SeamSuite
from fila_lab.data.seam.truth import records_of

GEOMETRY = GeometryConfig(tile=42, patch=14, canvases=((42, 84), (84, 84)), detail_cells=3)
TASKS = {"reading": 0.4, "document": 0.2, "chart": 0.2, "counting": 0.1, "coarse": 0.1}
PLAIN = SeamConfig(page_scale=1, text_height=(10, 14), tasks=TASKS, code_length=(0.7, 0.3, 0, 0))  # type: ignore[arg-type]
BOTH = PLAIN.model_copy(update={"below_height": (4.4, 6.0), "below_share": 0.5})


def cap_heights(suite: SeamSuite, index: int) -> list[float]:
    """Heights of the target's characters, canvas px; small letters there are none."""
    item = suite.item("test", index, "cut")
    x0, y0, x1, y1 = item.target_box
    scale = item.canvas[0] / item.image.width
    boxes = [g.box for g in item.glyphs if g.role == "code" and x0 <= g.box[0] < x1 and y0 <= g.box[1] < y1]
    return [(box[3] - box[1]) * scale for box in boxes]


def test_legible_items_are_those_without_a_second_range() -> None:
    """Bit for bit: a second range changes the items it takes, and no other."""
    plain, both = SeamSuite(PLAIN, GEOMETRY), SeamSuite(BOTH, GEOMETRY)
    kept = [index for index in range(24) if both.height_class("test", index) != "below"]
    assert 4 < len(kept) < 24
    for index in kept[:8]:
        one, two = plain.item("test", index), both.item("test", index)
        assert (one.question, one.answer, one.target_box) == (two.question, two.answer, two.target_box)
        assert np.array_equal(np.asarray(one.image), np.asarray(two.image))


def test_text_below_is_as_high_as_it_says() -> None:
    both = SeamSuite(BOTH, GEOMETRY).only("reading")
    seen: dict[str, list[float]] = {"legible": [], "below": []}
    for index in range(12):
        seen[both.height_class("test", index)] += cap_heights(both, index)
    assert min(map(len, seen.values())) > 2
    assert max(seen["below"]) < 7.0
    assert min(seen["below"]) > 4.4 - 1.0  # Q and J reach elsewhere than other capitals, and page px are whole
    assert min(seen["legible"]) > max(seen["below"])


def test_no_two_small_characters_share_a_quarter_of_a_token() -> None:
    """Wherever a target stands: else the truth could not tell their order, and no ceiling could be reached."""
    seam = BOTH.model_copy(update={"tasks": {"reading": 0.4, "document": 0.3, "table": 0.3}, "by_key": 0.5})
    both, seen = SeamSuite(seam, GEOMETRY), 0
    for index in (n for n in range(60) if both.height_class("train", n) == "below"):
        _, glyphs = both.unpainted("train", index)
        records = records_of(glyphs, GEOMETRY.patch / both.patch)
        quarters = [(x // 7, y // 7) for x, y in records[:, 2:4]]
        assert len(set(quarters)) == len(quarters), both.heading("train", index)
        seen += 1
    assert seen > 15


def test_only_tasks_that_ask_for_fine_print_have_a_class() -> None:
    both = SeamSuite(BOTH, GEOMETRY)
    found = {(both.heading("train", n)[0], both.height_class("train", n)) for n in range(200)}
    of_text = {(task, name) for task in ("reading", "document") for name in ("legible", "below")}
    assert found == of_text | {(task, "") for task in ("chart", "counting", "coarse")}
    fine = [name for n in range(400) if (name := both.height_class("train", n))]
    assert np.mean([name == "below" for name in fine]) == pytest.approx(0.5, abs=0.1)


def test_items_say_their_class_at_every_place_where_there_are_two() -> None:
    for seam, told in ((BOTH, True), (PLAIN, False)):
        items = Seam(DataConfig(seam=seam), GEOMETRY).items("test", 1)
        assert len({item.known.get("height_class") for item in items}) == 1
        assert all(("height_class" in item.known) == told for item in items)


def test_without_a_second_range_nothing_is_said_of_it() -> None:
    assert not {"below_height", "below_share"} & set(PLAIN.model_dump())
    one, two = (seam_identity(DataConfig(seam=seam), GEOMETRY, "test") for seam in (PLAIN, BOTH))
    assert one != two


def test_contrasts_can_be_split_by_it() -> None:
    Family(contrasts=(("a", "b"),), metric="exact/reading", by=("height_class",))
    from fila_lab.config.subgroups import check_by

    check_by("by", ["place", "height_class"], "exact/reading")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"below_height": [4, 6]}, "belong together"),
        ({"below_share": 0.5}, "belong together"),
        ({"below_height": [6, 4], "below_share": 0.5}, "no range below"),
        ({"below_height": [8, 10], "below_share": 0.5}, "which begins at 10"),
    ],
)
def test_half_a_declaration_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_run("mini", {f"data.seam.{name}": value for name, value in fields.items()})
