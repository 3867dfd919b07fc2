"""What every task promises: cut, sham and intact triplets, answers that the truth gives and the question does not."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from oracle_readers import answer, seen

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES, SEAM_TASKS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import SPLITS
from fila_lab.data.seam import SeamItem, SeamSuite, content, glyph_records, render, truth_maps
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.tasks import TASKS, get_task
from fila_lab.data.seam.truth import CLASSES, TRUTH_CHANNELS, records_of
from fila_lab.imaging import Geometry, cut_by_seam, cut_fraction

NAMES = SEAM_TASKS
NEW = tuple(name for name in NAMES if name not in ("reading", "coarse"))
DATA = SeamConfig(page_scale=1, text_height=(10, 14), code_length=(0.75, 0.2, 0.03, 0.02))
LARGE = GeometryConfig(tile=168, patch=14, canvases=((168, 336), (336, 168), (336, 336)), detail_cells=12)


@pytest.fixture(scope="module")
def suites(geometry: GeometryConfig) -> dict[str, SeamSuite]:
    suite = SeamSuite(DATA, geometry)
    return {name: suite.only(name) for name in NAMES}


@pytest.fixture(scope="module")
def items(suites: dict[str, SeamSuite]) -> dict[str, list[SeamItem]]:
    return {name: [suites[name].item("train", index) for index in range(120)] for name in NEW}


def test_every_task_says_what_it_stands_for() -> None:
    assert all(task.benchmark and task.about for task in TASKS.values())
    with pytest.raises(FilaError, match="did you mean 'chart'"):
        get_task("chrt")


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_cut_by_construction(suites: dict[str, SeamSuite], geometry: GeometryConfig, name: str) -> None:
    for index in range(4):
        triplet = suites[name].triplet("test", index)
        cut = triplet[0]
        where = Geometry.of(*cut.image.size, geometry)
        assert cut.task == name
        assert cut_by_seam(cut.ink, where) is True
        assert cut_fraction(cut.ink, where) == pytest.approx(cut.cut_fraction)
        targets = []
        for item in triplet:
            x0, y0, x1, y1 = item.target_box
            targets.append(np.asarray(item.image)[y0:y1, x0:x1])
            assert (item.question, item.answer) == (cut.question, cut.answer)
            assert item.place == "cut" or cut_by_seam(item.target_box, where) is False
        assert all(np.array_equal(target, targets[0]) for target in targets)


@pytest.mark.parametrize("name", NEW)
def test_distractors_stand_where_targets_stand(items: dict[str, list[SeamItem]], name: str) -> None:
    shown = Counter(place for item in items[name] for place in item.shown)
    assert shown.total() > 100
    assert min(shown[place] / shown.total() for place in PLACES) > 0.22


@pytest.mark.parametrize("name", NEW)
def test_the_truth_gives_the_answer(items: dict[str, list[SeamItem]], geometry: GeometryConfig, name: str) -> None:
    for item in items[name]:
        assert answer(name, item.question, seen(glyph_records(item))) == item.answer
    for item in items[name][:10]:
        records = glyph_records(item)
        where = Geometry.of(*item.image.size, geometry)
        fine = truth_maps(records[None], np.array([len(records)]), where)[0][0]
        names = fine[[TRUTH_CHANNELS.index(word) for word in TRUTH_CHANNELS if word.split()[0] in CLASSES]]
        assert names.sum() == len(records), "every mark has a cell of its own"
        assert names.sum(0).max() == 1
        for glyph in item.glyphs:
            x, y = ((glyph.box[i] + glyph.box[i + 2]) / 2 / item.image.size[i] * fine.shape[2 - i] for i in (0, 1))
            said = {TRUTH_CHANNELS[channel] for channel in np.flatnonzero(fine[:, int(y), int(x)])}
            assert glyph.colour in said
            assert glyph.role in said or glyph.role == "code"


@pytest.mark.parametrize("name", ["reading", "coarse"])
def test_the_truth_gives_the_answer_of_the_first_tasks(suites: dict[str, SeamSuite], name: str) -> None:
    suite = suites[name]
    for index in range(40):
        draft, glyphs = suite.unpainted("train", index)
        assert answer(name, draft.question, seen(records_of(glyphs, 0.4375))) == draft.answer


@pytest.mark.parametrize("name", NEW)
def test_the_question_alone_is_worth_the_stated_chance(
    items: dict[str, list[SeamItem]], suites: dict[str, SeamSuite], geometry: GeometryConfig, name: str
) -> None:
    usual: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items[name]:
        usual[item.question][item.answer] += 1
        usual["whatever"][item.answer] += 1
    asked = [suites[name].unpainted("test", index)[0] for index in range(200)]
    chance = get_task(name).chance(DATA, geometry)
    error = (chance * (1 - chance) / len(asked)) ** 0.5
    for guesses in ([usual[draft.question] or usual["whatever"] for draft in asked], [usual["whatever"]] * len(asked)):
        right = np.mean([guess.most_common(1)[0][0] == draft.answer for guess, draft in zip(guesses, asked, strict=True)])
        assert right < chance + 3 * error
    if chance > 0.1:
        answers = Counter(draft.answer for draft in asked)
        assert len(answers) == round(1 / chance)
        assert all(abs(count / len(asked) - chance) < 3.5 * error for count in answers.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_serves_large_pages(name: str) -> None:
    data = DATA.model_copy(update={"clutter": 6})
    suite = SeamSuite(data, LARGE).only(name)
    for index in range(12):
        draft, glyphs = suite.unpainted("test", index)
        assert answer(name, draft.question, seen(records_of(glyphs, 14 / 32))) == draft.answer
        assert len(draft.blocks) in (4 + 6, 2 + 6)
        assert len(glyphs) <= (data.codes_per_page + data.clutter) * get_task(name).most_marks + 1
    if name == "table":
        assert any(suite.unpainted("test", index)[0].addressing == "cell" for index in range(6))


@pytest.mark.parametrize("name", ["reading", "document", "table"])
def test_evidence_is_cut_apart_between_key_and_value(geometry: GeometryConfig, name: str) -> None:
    suite = SeamSuite(DATA.model_copy(update={"evidence_apart": 1.0, "by_key": 1.0}), geometry).only(name)
    apart = [item for item in (suite.item("test", index, "cut") for index in range(24)) if item.evidence == "apart"]
    assert len(apart) >= 6
    for item in apart:
        axis = "xy".index(item.axis)
        seam = item.image.size[axis] // 2
        profile = item.ink.any(axis)
        assert profile[:seam].any()
        assert profile[seam:].any()
        assert not (profile[seam - 1] and profile[seam]), "the seam runs along a gap in the ink"


def test_pairs_are_cut_between_their_marks_where_the_page_permits(suites: dict[str, SeamSuite]) -> None:
    cut = [suites["spatial"].item("test", index, "cut") for index in range(30)]
    for item in cut:
        along = "x" if item.answer in ("left", "right") else "y"
        tiles = item.canvas["xy".index(along)] // 42
        assert item.evidence == ("apart" if tiles > 1 else "through")
        assert item.evidence == "through" or item.axis == along


def test_knobs_of_places_and_cuts(geometry: GeometryConfig) -> None:
    suite = SeamSuite(DATA.model_copy(update={"places": ("cut",), "cut_share": (0.4, 0.45)}), geometry)
    drawn = [suite.item("train", index) for index in range(20)]
    assert {item.place for item in drawn} == {"cut"}
    assert all(0.4 <= item.cut_fraction <= 0.45 for item in drawn)
    for wrong in ({"data.seam.cut_share": [0.1, 0.5]}, {"data.seam.page_aspect": [2, 1]}, {"data.seam.places": []}):
        with pytest.raises(ConfigError, match=next(iter(wrong)).replace(".", r"\.")):
            resolve_run("mini", wrong)


def test_knobs_of_aspect_and_fonts(geometry: GeometryConfig) -> None:
    wide = GeometryConfig(tile=42, patch=14, canvases=(*geometry.canvases, (168, 42)), detail_cells=3)
    data = DATA.model_copy(update={"page_aspect": (1.5, 4.0)})
    suite = SeamSuite(data, wide)
    assert suite.canvases == [(84, 42), (168, 42)]
    item = next(item for item in (suite.item("train", index) for index in range(20)) if item.canvas == (168, 42))
    assert item.image.size == (4 * 96, 96)
    with pytest.raises(FilaError, match=re.escape("data.seam.page_aspect=[8.0, 9.0]")):
        SeamSuite(data.model_copy(update={"page_aspect": (8.0, 9.0)}), wide)
    for split in SPLITS:
        groups = [set(content.fonts(split, group)) for group in ("sans", "serif", "mono")]
        assert all(groups)
        assert set().union(*groups) == set(content.fonts(split))
        assert sum(map(len, groups)) == len(content.fonts(split))


def test_a_table_that_does_not_fit_is_drawn_again(monkeypatch: pytest.MonkeyPatch, suites: dict[str, SeamSuite]) -> None:
    setup = suites["table"].setup("train", 0)
    refused: list[int] = []

    def fits(page: PageSetup, block: render.Block) -> bool:
        refused.append(1)
        return len(refused) > 20

    monkeypatch.setattr(PageSetup, "fits", fits)
    assert get_task("table").draft(setup).question.startswith("cell ")
    assert len(refused) > 20
    monkeypatch.setattr(PageSetup, "fits", lambda page, block: False)
    with pytest.raises(FilaError, match=r"data\.seam\.text_height"):
        get_task("table").draft(suites["table"].setup("train", 0))
