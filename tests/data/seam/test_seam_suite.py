"""The promises a triplet makes, and the balance of the training items."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam import SeamItem, SeamSuite
from fila_lab.data.seam.places import Axis, cut_tables
from fila_lab.imaging import Geometry, cut_by_seam, cut_fraction, join_tiles, prepare

Triplets = list[tuple[SeamItem, SeamItem, SeamItem]]


def _page(item: SeamItem) -> np.ndarray:
    return np.asarray(item.image)


def _target(item: SeamItem) -> np.ndarray:
    x0, y0, x1, y1 = item.target_box
    return _page(item)[y0:y1, x0:x1]


def test_target_and_rest_of_the_page_are_identical_in_the_three_places(triplets: Triplets) -> None:
    for triplet in triplets:
        cut = triplet[0]
        assert [item.place for item in triplet] == list(PLACES)
        hidden = np.zeros(_page(cut).shape[:2], bool)
        for item in triplet:
            assert np.array_equal(_target(item), _target(cut))
            assert (item.question, item.answer, item.item_id) == (cut.question, cut.answer, cut.item_id)
            x0, y0, x1, y1 = item.target_box
            hidden[y0:y1, x0:x1] = True
        for item in triplet[1:]:
            assert np.array_equal(_page(item)[~hidden], _page(cut)[~hidden])


def test_cut_is_cut_and_the_other_places_touch_no_seam(triplets: Triplets, geometry: GeometryConfig) -> None:
    fractions = []
    for cut, sham, intact in triplets:
        where = Geometry.of(*cut.image.size, geometry)
        assert where.canvas == cut.canvas
        assert cut_by_seam(cut.ink, where) is True
        assert cut_fraction(cut.ink, where) == pytest.approx(cut.cut_fraction)
        for item in (sham, intact):
            assert cut_by_seam(item.ink, where) is False
            assert cut_by_seam(item.target_box, where) is False
        fractions.append(cut.cut_fraction)
    assert min(fractions) >= 0.15
    assert max(fractions) > 0.42
    assert {cut.axis for cut, _, _ in triplets} == {"x", "y"}


def test_sham_moves_by_patches_times_tiles_and_looks_the_same_on_the_canvas(triplets: Triplets, geometry: GeometryConfig) -> None:
    for cut, sham, _ in triplets[:30]:
        axis = "xy".index(cut.axis)
        moved = [sham.target_box[i] - cut.target_box[i] for i in (0, 1)]
        tiles = cut.canvas[axis] // geometry.tile
        page_patch = cut.image.size[axis] // (cut.canvas[axis] // geometry.patch)
        assert moved[axis] != 0
        assert moved[axis] % (page_patch * tiles) == 0
        assert moved[1 - axis] == 0
        canvases = []
        for item in (cut, sham):
            prepared = prepare(item.image, geometry)
            canvas = join_tiles(prepared.tiles, prepared.geometry.rows, prepared.geometry.cols)
            x0, y0, x1, y1 = (side * geometry.patch / page_patch for side in item.target_box)
            canvases.append(canvas[int(np.ceil(y0)) : int(y1), int(np.ceil(x0)) : int(x1)].astype(int))
        assert np.abs(canvases[0] - canvases[1]).max() <= 1


def test_single_characters_are_intact_within_one_patch(triplets: Triplets, suite: SeamSuite) -> None:
    for _, _, intact in triplets:
        ink = np.argwhere(intact.ink)
        (y0, x0), (y1, x1) = ink.min(0), ink.max(0)
        if max(y1 - y0, x1 - x0) < suite.patch:
            assert y0 // suite.patch == y1 // suite.patch
            assert x0 // suite.patch == x1 // suite.patch


def test_three_tiles_of_three_patches_permit_no_triplet_but_of_four_do() -> None:
    profile = np.ones(40)
    assert not cut_tables(Axis(tiles=3, grid=3, patch=64), profile)
    assert not cut_tables(Axis(tiles=1, grid=3, patch=64), profile)
    (first, *_) = cut_tables(Axis(tiles=3, grid=4, patch=64), profile)
    steps = {abs(sham - start) for start, shams in zip(first.start, first.sham, strict=True) for sham in shams if sham >= 0}
    assert steps == {3 * 64}


def test_items_depend_on_the_index_alone(suite: SeamSuite, geometry: GeometryConfig) -> None:
    def digest(item: SeamItem) -> str:
        return hashlib.sha256(_page(item).tobytes() + item.answer.encode()).hexdigest()

    indices = [11, 3, 7]
    here = [digest(suite.item("train", index)) for index in indices]
    fresh = SeamSuite(SeamConfig(), geometry)
    assert [digest(fresh.item("train", index)) for index in reversed(indices)] == here[::-1]
    code = (
        "import hashlib, numpy as np; from fila_lab.config.geometry import GeometryConfig;"
        "from fila_lab.config.data import SeamConfig; from fila_lab.data.seam import SeamSuite;"
        f"s = SeamSuite(SeamConfig(), GeometryConfig.model_validate_json({geometry.model_dump_json()!r}));"
        "digest = lambda i: hashlib.sha256(np.asarray(i.image).tobytes() + i.answer.encode()).hexdigest();"
        f"[print(digest(s.item('train', n))) for n in {indices}]"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == here
    assert digest(SeamSuite(SeamConfig(seed=1), geometry).item("train", 3)) != here[1]


def test_places_are_balanced_for_targets_and_distractors(train: list[SeamItem]) -> None:
    targets = Counter(item.place for item in train)
    distractors = Counter(place for item in train for place in item.shown)
    for counts in (targets, distractors):
        for place in PLACES:
            assert counts[place] / counts.total() == pytest.approx(1 / 3, abs=0.05)
    for addressing in ("colour", "key"):
        shown = Counter(place for item in train if item.addressing == addressing for place in item.shown)
        assert min(shown[place] / shown.total() for place in PLACES) > 0.26


def test_the_question_says_nothing_about_the_answer(train: list[SeamItem], suite: SeamSuite) -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for item in train:
        seen[item.question][item.answer] += 1
        if item.addressing == "key":
            seen["any key"][item.answer] += 1
    for split in ("val", "test"):
        items = [suite.item(split, index) for index in range(400)]
        for task in ("reading", "coarse"):
            asked = [item for item in items if item.task == task]
            guesses = [(seen.get(item.question) or seen["any key"]).most_common(1)[0][0] == item.answer for item in asked]
            assert np.mean(guesses) - 1.65 * np.std(guesses) / len(asked) ** 0.5 < 0.04, "chance is not clearly above 4 %"
            if task == "reading":
                assert np.mean(guesses) < 0.04


def test_a_page_answers_its_question_and_only_once(train: list[SeamItem]) -> None:
    for item in train:
        codes = [glyph for glyph in item.glyphs if glyph.role == "code"]
        if item.addressing == "colour":
            assert "".join(glyph.char for glyph in codes if glyph.colour == item.question[:-1]) == item.answer
        if item.addressing == "key":
            keys = "".join(glyph.char for glyph in item.glyphs if glyph.key)
            assert [keys[i : i + 2] for i in range(0, len(keys), 2)].count(item.question[:-1]) == 1
        if item.task == "coarse":
            (panel,) = [glyph for glyph in item.glyphs if glyph.role == "panel"]
            assert item.answer == f"{panel.colour} {panel.char}"


@pytest.mark.parametrize(
    ("data", "canvases", "message"),
    [
        ({}, ((126, 42), (42, 126)), "geometry.canvases"),
        ({"tasks": {"reading": 0.0}}, ((84, 84),), "data.seam.tasks"),
        ({"codes_per_page": 9}, ((84, 84),), "data.seam.codes_per_page=9"),
    ],
)
def test_what_cannot_work_is_refused_by_name(data: dict[str, object], canvases: tuple[tuple[int, int], ...], message: str) -> None:
    with pytest.raises(FilaError, match=re.escape(message)):
        SeamSuite(SeamConfig(**data), GeometryConfig(tile=42, patch=14, canvases=canvases, detail_cells=3))


def test_text_too_low_to_leave_ink_is_refused_by_name(geometry: GeometryConfig) -> None:
    suite = SeamSuite(SeamConfig(text_height=(1.0, 2.0)), geometry, patch=14)
    with pytest.raises(FilaError, match=r"data\.seam\.text_height=\[1\.0, 2\.0\]: letters so low leave no ink with 1 page px"):
        [suite.item("train", index) for index in range(40)]


def test_pages_can_have_the_px_of_their_canvas(geometry: GeometryConfig) -> None:
    suite = SeamSuite(SeamConfig(), geometry, patch=geometry.patch)
    for item in (suite.item("test", 0), suite.only("coarse").item("test", 0)):
        assert item.image.size == item.canvas


def test_text_too_large_for_a_tile_is_refused_by_name(geometry: GeometryConfig) -> None:
    with pytest.raises(FilaError, match=r"data\.seam\.text_height"):
        SeamSuite(SeamConfig(text_height=(60.0, 70.0)), geometry).item("train", 0)
