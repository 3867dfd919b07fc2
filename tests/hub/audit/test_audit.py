"""The audit from end to end: on readers whose seam gap is known, and on random models of transformers, which read nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from audit_models import FAMILIES, saved

from fila_lab.cli import main
from fila_lab.config.data import PLACES
from fila_lab.evaluation import summarise
from fila_lab.hub.audit import Asked, Subject, audit, content, markdown, open_processor, open_reader, page_of, write_report
from fila_lab.hub.audit.figures import beats_chance, figures_of
from fila_lab.hub.audit.questions import bare
from fila_lab.hub.audit.report import FILES, conclusion, remarks
from fila_lab.hub.audit.run import SEARCH_FROM
from fila_lab.hub.audit.tilings import Tiling
from fila_lab.hub.audit.tilings.internvl import InternVL
from fila_lab.hub.audit.tilings.llava_next import LlavaNext
from fila_lab.hub.audit.tilings.single import Single
from fila_lab.imaging import cut_by_seam

CANVASES = [(112, 56), (56, 112), (112, 112)]
SUBJECT = Subject("a/model", "Model", "Images", "llava_next", {"device": "cpu"})


class Oracle:
    """Answers by the truth where text is at least `smallest` px high, but not where its own tiling's seams cut the target, nor in a share
    `slips` of all items, drawn by what is seen."""

    def __init__(self, tiling: Tiling, smallest: int = 0, slips: float = 0.0, blind: bool = True) -> None:
        self.tiling, self.smallest, self.slips, self.blind = tiling, smallest, slips, blind
        self.asked: list[Asked] = []

    def __call__(self, asked: Sequence[Asked]) -> list[str]:
        self.asked += asked
        return [one.item.answer if self._reads(one) else "?" for one in asked]

    def _reads(self, one: Asked) -> bool:
        item = one.item
        if self.blind and cut_by_seam(item.ink, self.tiling.geometry(item.image.size)):
            return False
        high = max(glyph.box[3] - glyph.box[1] for glyph in item.glyphs if glyph.role == "code")
        seen = hashlib.sha256(item.image.tobytes() + one.question.encode()).digest()
        return high >= self.smallest and int.from_bytes(seen[:4]) / 2**32 >= self.slips


def tiling(kind: str) -> Tiling:
    return {
        "llava_next": LlavaNext(56, 14, CANVASES),
        "internvl": InternVL(56, 14, 1, 4),
        "single": Single(112, 14, "stretch"),
    }[kind]


@pytest.mark.parametrize("kind", ["llava_next", "internvl"])
def test_a_reader_that_its_own_seams_alone_defeat_has_a_gap_of_one(kind: str) -> None:
    model = tiling(kind)
    found = audit(Oracle(model), page_of(model), "reading", 20, height=9)
    assert found.reads
    assert found.figures is not None
    assert {name: figure.value for name, figure in found.figures.by_name.items()} == {
        "accuracy/cut": 0.0,
        "accuracy/sham": 1.0,
        "accuracy/intact": 1.0,
        "seam_gap": 1.0,
        "sham_gap": 0.0,
        "fragmentation": 1.0,
        "fragmentation_reverse": 0.0,
    }
    assert found.figures.triplets == 20
    assert "read worse than at their sham place, by 100.0 points" in conclusion(found)
    assert "near the ceiling" in " ".join(remarks(found))


def test_a_height_is_looked_for_on_intact_items_that_are_asked_no_more() -> None:
    model = LlavaNext(112, 14, [(224, 224)])
    oracle = Oracle(model, smallest=12, slips=0.1)
    found = audit(oracle, page_of(model), "reading", 20)
    assert found.reads
    assert (found.end, found.figures is not None) == ("", True)
    assert abs(found.height - 12) <= 2  # letters are as high as capitals to a px or two
    assert [one.item.place for one in oracle.asked[-60:]] == list(PLACES) * 20
    searched = [int(one.item.item_id.rpartition("-")[2]) for one in oracle.asked[:-60]]
    assert searched == list(range(SEARCH_FROM, SEARCH_FROM + len(searched)))
    assert {one.item.place for one in oracle.asked[:-60]} == {"intact"}


def test_a_gap_among_slips_lies_in_its_interval_and_a_reader_without_one_is_told_so() -> None:
    model = tiling("llava_next")
    page = page_of(model)
    with_gap = audit(Oracle(model, slips=0.3), page, "reading", 40, height=9)
    assert with_gap.tried == {}
    assert with_gap.figures is not None
    gap = with_gap.figures["seam_gap"]
    assert gap.low < 0.7 < gap.high
    assert gap.high - gap.low < 0.4
    assert with_gap.figures["fragmentation"].value - with_gap.figures["fragmentation_reverse"].value == pytest.approx(gap.value)
    without = audit(Oracle(model, slips=0.3, blind=False), page, "reading", 40, height=9)
    assert without.figures is not None
    assert without.figures["seam_gap"].low < 0 < without.figures["seam_gap"].high
    assert conclusion(without).startswith("No seam gap was found")


def test_a_control_has_no_gap_and_says_what_it_is() -> None:
    model = tiling("single")
    found = audit(Oracle(model, slips=0.3), page_of(model), "reading", 40, height=9)
    assert found.page.control
    assert conclusion(found).startswith("Control: the interval of the gap holds zero")
    assert "sees the page in one crop" in remarks(found)[0]


def test_questions_are_sentences_or_the_suites_own() -> None:
    model = tiling("llava_next")
    oracle = Oracle(model, blind=False)
    audit(oracle, page_of(model), "reading", 3, height=9)
    assert all(one.question.endswith("nothing else.") for one in oracle.asked)
    oracle.asked.clear()
    audit(oracle, page_of(model), "reading", 3, height=9, wording=bare)
    assert all(one.question == one.item.question for one in oracle.asked)


def test_who_reads_nothing_is_asked_no_triplets_and_given_no_gap() -> None:
    model = tiling("llava_next")
    oracle = Oracle(model, smallest=1000)
    found = audit(oracle, page_of(model), "reading", 40)
    assert (found.reads, found.figures, found.end) == (False, None, "tallest")
    assert {one.item.place for one in oracle.asked} == {"intact"}
    assert conclusion(found) == (
        "The model cannot read `reading` at any height tried (14 px): at 14 px 0 of 32 intact items are right, and chance is "
        f"{found.chance:.1%}. A gap would say nothing, so none is given."
    )
    page = markdown(SUBJECT, [found])
    assert "seam_gap" not in page
    assert content(SUBJECT, [found])["tasks"]["reading"]["figures"] == {}


def frame(triplets: Sequence[tuple[int, int, int]]) -> pd.DataFrame:
    rows = [
        {"item_id": f"i{number}", "task": "reading", "place": place, "correct": bool(value), "image_id": f"p{number}"}
        for number, values in enumerate(triplets)
        for place, value in zip(PLACES, values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_figures_are_those_of_cells_and_unanimous_triplets_leave_room_for_what_was_not_seen() -> None:
    draw = np.random.default_rng(0)
    answers = frame([tuple(draw.integers(0, 2, 3)) for _ in range(60)])
    found, cells = figures_of(answers), summarise(answers)
    for name in ("seam_gap", "sham_gap", "fragmentation", "fragmentation_reverse"):
        assert found[name].value == pytest.approx(cells[f"{name}/reading"])
        assert found[name].low < found[name].value < found[name].high
    same = figures_of(frame([(1, 1, 1)] * 40))
    assert (same["seam_gap"].low, same["seam_gap"].high) == (pytest.approx(-0.0876, abs=1e-3), pytest.approx(0.0876, abs=1e-3))
    assert (same["fragmentation"].low, same["fragmentation"].value) == (0, 0)
    assert same["accuracy/cut"].high == 1
    assert same["accuracy/cut"].low == pytest.approx(1 - 0.0876, abs=1e-3)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        sham = draw.random(100) < 0.8
        cut = sham & (draw.random(100) < 0.8)
        gap = figures_of(frame(list(zip(cut, sham, sham, strict=True))))["seam_gap"]
        held += gap.low <= 0.16 <= gap.high
    assert held >= 89  # of 95 expected, three standard deviations of a count off


def test_chance_is_beaten_by_more_than_luck() -> None:
    assert not beats_chance(0, 32, 0.01)
    assert not beats_chance(2, 32, 0.01)
    assert beats_chance(5, 32, 0.01)
    assert not beats_chance(20, 32, 0.5)


QUICK = "idefics3"
EACH_FAMILY = [pytest.param(family, marks=() if family == QUICK else pytest.mark.slow) for family in FAMILIES]


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_a_random_model_reads_nothing(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: a folder of save_pretrained, its processor, its geometry by its own pixels, prompts, answers, report."""
    folder, out = saved(family, tmp_path / "model"), tmp_path / "report"
    with pytest.raises(SystemExit) as stop:
        main(["audit", str(folder), "--items", "3", "--batch-size", "32", "--device", "cpu", "--out", str(out)])
    printed = capsys.readouterr().out
    assert stop.value.code in (0, None), printed
    assert "cannot read `reading` at any height tried (14 px)" in printed
    assert "seam_gap" not in printed
    report = json.loads((out / FILES[0]).read_text(encoding="utf-8"))
    assert report["tiling"] == ("single" if family == "llava" else family)
    assert report["tasks"]["reading"]["control"] is (family == "llava")
    assert report["tasks"]["reading"]["page"]["size"] == [112, 112]
    assert {path.name for path in out.iterdir()} == set(FILES)


@pytest.mark.slow
def test_a_saved_model_of_the_laboratory_is_audited_like_any_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["audit", str(folder), "--bare", "--batch-size", "32", "--device", "cpu", "--json"])
    assert stop.value.code in (0, None)
    report = json.loads(capsys.readouterr().out)
    assert (report["class"], report["tiling"]) == ("FilaForConditionalGeneration", "fila")
    task = report["tasks"]["reading"]
    assert (task["reads"], task["control"], task["figures"]) == (False, False, {})
    assert task["page"] == {"size": [84, 84], "tiles": [2, 2], "tile": 42, "patch": 14}


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_a_model_answers_several_pages_together_as_one_by_one(family: str, tmp_path: Path) -> None:
    """Prompts of different lengths among them, which are padded on the left."""
    folder = str(saved(family, tmp_path / "model"))
    processor, config = open_processor(folder)
    from fila_lab.hub.audit.tilings import tiling_of

    suite = page_of(tiling_of(processor, config)).suite("reading", 8)
    asked = [Asked(suite.item("test", index, "cut"), "Which code? " * (1 + index)) for index in range(3)]
    alone, together = (open_reader(folder, processor, "cpu", "float32", size)(asked) for size in (1, 3))
    assert alone == together
    assert all(alone)


@pytest.fixture(scope="module")
def weightless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model whose weights are gone. Read only."""
    folder = saved("llava_next", tmp_path_factory.mktemp("weightless") / "model")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./no/such/folder"], "cannot be loaded by transformers"),
        (["MODEL", "--task", "readin"], "--task readin: there is no such task (did you mean 'reading'?); choose reading, document"),
        (["MODEL", "--task", "coarse"], "whatever the text height"),
        (["MODEL", "--task", "reading", "--task", "reading"], "named twice"),
        (["MODEL", "--tiles", "2"], "--tiles 2: give the tiles across and down"),
        (["MODEL", "--tiles", "9x9"], "no page is cut into so many tiles across and down by this model; choose 1x2, 2x1, 2x2"),
        (["MODEL", "--text-height", "40"], "take 6 to 14 px"),
        (["MODEL", "--dtype", "int8"], "choose auto, float32, bfloat16, float16"),
        (["MODEL", "--out", "FOREIGN"], "holds audit.md of something else"),
    ],
)
def test_mistakes_are_one_message_before_weights_are_read(
    arguments: list[str], said: str, weightless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "audit.md").write_text("mine", encoding="utf-8")
    named = {"MODEL": str(weightless), "FOREIGN": str(foreign)}
    with pytest.raises(SystemExit) as stop:
        main(["audit", *(named.get(word, word) for word in arguments)])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaConfig

    from fila_lab.config.base import FilaError

    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(FilaError, match="no model that answers questions about images"):
        open_processor(str(tmp_path))


def test_a_device_that_is_not_there_is_refused() -> None:
    from fila_lab.config.base import FilaError

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(FilaError, match="finds no CUDA device"):
        open_reader("any", None, "cuda", "auto", 1)


def test_a_report_holds_the_same_numbers_in_every_form(tmp_path: Path) -> None:
    model = tiling("llava_next")
    found = audit(Oracle(model, slips=0.3), page_of(model), "reading", 30, height=9)
    write_report(tmp_path / "new" / "folder", SUBJECT, [found])
    out = tmp_path / "new" / "folder"
    told: dict[str, Any] = json.loads((out / "audit.json").read_text(encoding="utf-8"))["tasks"]["reading"]
    page = (out / "audit.md").read_text(encoding="utf-8")
    assert found.figures is not None
    for name, figure in found.figures.by_name.items():
        assert told["figures"][name] == {"value": figure.value, "low": figure.low, "high": figure.high}
        assert f"| {name} | {figure.value:.3f} | [{figure.low:.3f}, {figure.high:.3f}] |" in page
    assert conclusion(found) in page
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 90
    assert figures_of(pd.DataFrame(lines)).by_name == found.figures.by_name
    assert sum(line["place"] == "cut" and line["correct"] for line in lines) == 0
