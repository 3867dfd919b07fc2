"""Items of the audit: made for a model's own tiles, cut and uncut by them, and asked in whole sentences."""

from __future__ import annotations

from itertools import count

import pytest

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.data import CUT_SHARE
from fila_lab.config.seam_words import QUESTIONS
from fila_lab.hub.audit.pages import TASKS, Page, page_of
from fila_lab.hub.audit.questions import SENTENCES, right, sentence
from fila_lab.hub.audit.run import drawn
from fila_lab.hub.audit.tilings import Tiling
from fila_lab.hub.audit.tilings.idefics3 import Idefics3
from fila_lab.hub.audit.tilings.internvl import InternVL
from fila_lab.hub.audit.tilings.llava_next import LlavaNext
from fila_lab.hub.audit.tilings.single import Single
from fila_lab.imaging import cut_fraction

CANVASES = [(672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336)]
MODELS: dict[str, Tiling] = {
    "llava-v1.6": LlavaNext(336, 14, CANVASES),
    "InternVL3": InternVL(448, 28, 1, 12),
    "Idefics3": Idefics3(364, 28, 1456, True),
    "SmolVLM": Idefics3(512, 64, 2048, True),
}
LARGE = ("Idefics3", "SmolVLM")
"""Their pages take a second to draw."""
CONTROLS: dict[str, Tiling] = {"llava-1.5": Single(336, 14, "crop"), "paligemma-448": Single(448, 14, "stretch")}


@pytest.mark.parametrize(
    ("model", "size", "tiles"),
    [
        ("llava-v1.6", (672, 672), (2, 2)),
        ("InternVL3", (896, 896), (2, 2)),
        ("Idefics3", (1456, 728), (4, 2)),
        ("SmolVLM", (2048, 1024), (4, 2)),
        ("llava-1.5", (336, 336), (2, 2)),
        ("paligemma-448", (448, 448), (2, 2)),
    ],
)
def test_a_page_has_the_fewest_tiles_with_seams_both_ways_and_its_canvas_s_own_pixels(
    model: str, size: tuple[int, int], tiles: tuple[int, int]
) -> None:
    tiling = (MODELS | CONTROLS)[model]
    page = page_of(tiling)
    assert (page.size, page.tiles, page.control) == (size, tiles, model in CONTROLS)
    geometry = tiling.geometry(page.size)
    assert geometry.resized == geometry.canvas == page.size
    assert page.suite("reading", 12).item("test", 0, "cut").image.size == page.size


@pytest.mark.parametrize("model", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in MODELS])
def test_every_task_is_cut_by_the_models_own_seams_and_nowhere_else(model: str) -> None:
    """At the smallest and the greatest text height: by `imaging.seams`, from the ink and the geometry of the model's processor."""
    tiling = MODELS[model]
    page = page_of(tiling)
    geometry = tiling.geometry(page.size)
    for number, task in enumerate(TASKS):
        suite = page.suite(task, page.heights[number % 2])
        cut, sham, intact = suite.triplet("test", number)
        assert cut_fraction(cut.ink, geometry) == pytest.approx(cut.cut_fraction, abs=1e-9)
        assert cut.cut_fraction >= CUT_SHARE
        assert cut_fraction(sham.ink, geometry) == cut_fraction(intact.ink, geometry) == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", [*MODELS, *CONTROLS])
def test_every_task_can_be_drawn_on_every_page_at_every_height(model: str) -> None:
    tiling = (MODELS | CONTROLS)[model]
    page = page_of(tiling)
    for task in TASKS:
        smallest, tallest = page.heights
        for height in (smallest, (smallest + tallest) // 2, tallest):
            for index in range(4):
                page.suite(task, height).triplet("test", index)


@pytest.mark.parametrize("model", CONTROLS)
def test_a_control_says_cut_where_nothing_is(model: str) -> None:
    tiling = CONTROLS[model]
    page = page_of(tiling)
    for item in page.suite("reading", 9).triplet("test", 3):
        assert cut_fraction(item.ink, tiling.geometry(page.size)) == 0


def test_pages_of_other_grids_and_their_refusals() -> None:
    assert page_of(MODELS["InternVL3"], (4, 3)).size == (1792, 1344)
    assert page_of(CONTROLS["llava-1.5"], (3, 3)).tile == 112
    with pytest.raises(ConfigError, match=r"--tiles 3x3: no page is cut into so many .* choose 1x2, 1x3, 2x1, 2x2, 3x1"):
        page_of(MODELS["llava-v1.6"], (3, 3))
    with pytest.raises(ConfigError, match=r"can be a control of so many .* choose 2x2, 3x3, 4x4"):
        page_of(CONTROLS["llava-1.5"], (3, 2))
    with pytest.raises(FilaError, match="cannot be audited"):
        page_of(Single(14, 14, "stretch"))


def test_refused_heights_name_the_range() -> None:
    page = Page((672, 672), (2, 2), 336, 14, control=False)
    page.check_height(None)
    page.check_height(84)
    with pytest.raises(ConfigError, match="--text-height 85: pages of tiles of 336 px take 6 to 84 px"):
        page.check_height(85)
    with pytest.raises(FilaError, match="tiles of 14 px are too small"):
        _ = Page((28, 28), (2, 2), 14, 2, control=False).heights


def test_numbers_whose_item_cannot_be_drawn_are_passed_over_unless_nearly_all_are() -> None:
    def draw(number: int) -> int:
        if number % 10 == 0 or number >= 50:
            raise FilaError("no place to be cut")
        return number

    assert drawn(draw, count(8), 4) == [8, 9, 11, 12]
    with pytest.raises(FilaError, match="no place to be cut"):
        drawn(draw, count(48), 4)


@pytest.mark.parametrize("task", TASKS)
def test_every_question_of_the_suite_has_a_sentence_with_all_its_names(task: str) -> None:
    page = page_of(MODELS["llava-v1.6"])
    suite = page.suite(task, 20)
    kinds = set()
    for index in range(12):
        setup = suite.setup("test", index)
        draft, _ = suite.unpainted("test", index)
        assert setup.split == "test"
        item = _Asked(task, draft.question, draft.answer, draft.addressing)
        text = sentence(item)  # type: ignore[arg-type]
        template = QUESTIONS[task].split("{}")[0].split()  # type: ignore[index]
        names = [word for word in draft.question.rstrip("?").split() if word not in template and word != "from"]
        assert names
        assert all(name.lower() in text.lower().split() or f"{name.lower()}?" in text.lower().split() for name in names), (names, text)
        kinds.add((task, draft.addressing))
    assert kinds <= set(SENTENCES)


class _Asked:
    def __init__(self, task: str, question: str, answer: str, addressing: str) -> None:
        self.task, self.question, self.answer, self.addressing = task, question, answer, addressing


@pytest.mark.parametrize(
    ("said", "answer", "true"),
    [
        ("AB1", "AB1", True),
        ("ab1.", "AB1", True),
        ('The text reads "AB1".', "AB1", True),
        ("A B 1", "AB1", True),
        ("AB12", "AB1", False),
        ("XAB1", "AB1", False),
        ("", "AB1", False),
        ("A code in red", "A", True),
        ("a code in red", "A", False),
        ("It is a blue A", "B", False),
        ("12", "1", False),
        ("The answer is 12.", "12", True),
        ("Yes, there is.", "yes", True),
        ("Answer with one word: left, right, above or below.", "left", False),
        ("1, 2 or 3", "2", False),
        ("There are 2 of them.", "2", True),
        ("Q7 x A k2", "A", False),
        ("Yes.", "yes", True),
        ("left", "left", True),
    ],
)
def test_an_answer_is_right_if_it_is_the_true_one_or_holds_it_as_a_word(said: str, answer: str, true: bool) -> None:
    assert right(said, answer) == true
