"""Three splits of fonts and photos for three tower pairs: each leaves out another third, which it is scored on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fila_lab.config import FilaError, load_preset, resolve_run
from fila_lab.data.seam import content, render
from fila_lab.data.seam.symbolic import symbolic_page
from fila_lab.modeling.precision import fast_bf16
from fila_lab.pretraining.answers import pretrain_answers
from fila_lab.pretraining.device import chosen_device, made_on
from fila_lab.pretraining.pages import cap_heights, dense_pages
from fila_lab.pretraining.thirds import left_out, of_third

REPOSITORY = Path(__file__).parents[2]
MINI = load_preset("mini")


def test_every_font_and_photo_is_left_out_by_one_split() -> None:
    for names in (content.fonts("train"), content.photos("train")):
        held = [of_third(names, third, held_out=True) for third in range(3)]
        assert sorted(map(str, sum(held, ()))) == sorted(map(str, names))
        for third in range(3):
            assert set(of_third(names, third, held_out=False)) == set(names) - set(held[third])
        assert of_third(names, None, held_out=True) == of_third(names, None, held_out=False) == tuple(names)
    assert left_out(None) == {}
    assert not {path.stem for path in content.fonts("test")} & set(left_out(0)["split"]["fonts_left_out"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_pages_of_a_third_show_its_fonts_and_photos_alone(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plates with random strings and blocks of the tasks alike."""
    fonts, photos = set[Path](), set[str]()
    draw_text, photo_crop = render.draw_text, render.photo_crop
    monkeypatch.setattr(render, "draw_text", lambda text, font, *rest: fonts.add(font) or draw_text(text, font, *rest))
    monkeypatch.setattr(render, "photo_crop", lambda draw, name, *rest: photos.add(name) or photo_crop(draw, name, *rest))
    dense_pages(MINI, split, 5, 0, 1, third=1)
    assert len(fonts) > 2
    assert fonts <= set(of_third(content.fonts(split), 1, split == "val"))
    assert photos <= set(of_third(content.photos(split), 1, split == "val"))


def test_pages_show_text_as_low_as_items_ask_for() -> None:
    both = MINI.data.seam.model_copy(update={"below_height": (4.4, 6.0), "below_share": 0.5})
    assert cap_heights(MINI.data.seam) == (8.0, 15.0)
    assert cap_heights(both) == pytest.approx((3.52, 15.0))
    generator = np.random.default_rng(0)
    pages = [symbolic_page(generator, both, MINI.geometry) for _ in range(60)]
    assert all(len(page.glyphs) for page in pages)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert chosen_device("auto").type == "cpu"
    assert ("bfloat16" in made_on(chosen_device("cpu"))["precision"]) == fast_bf16("cpu")
    with pytest.raises(FilaError, match="no GPU that torch can use"):
        chosen_device("cuda")
    with pytest.raises(FilaError, match="choose cpu, cuda, auto"):
        chosen_device("tpu")


def test_a_projector_alone_needs_a_language_model(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="name a file to start from"):
        pretrain_answers(tmp_path, steps=0)


def test_the_committed_commands_make_what_the_preset_names() -> None:
    """`make towers` writes files of the names that `mini` has in the package, by the rules of a preset that adds small text alone."""
    rules = (REPOSITORY / "experiments" / "towers" / "towers.mk").read_text(encoding="utf-8")
    made = re.search(r"^all-towers: .*foreach part,([\w ]+),.*\$\(TOWERS\)/(\w+)_\$\(part\)_\$\(pair\)\.json", rules, re.MULTILINE)
    pairs = re.search(r"^PAIRS := ([\d ]+)$", rules, re.MULTILINE)
    assert made is not None
    assert pairs is not None
    for number, pair in enumerate(MINI.tower_pairs):
        assert str(number) == pairs[1].split()[number]
        assert [pair.vit, pair.convnext, pair.language] == [f"package:{made[2]}_{part}_{number}" for part in made[1].split()]
    shown = resolve_run(str(REPOSITORY / "experiments" / "towers" / "mini.yaml"))
    small = {"data.seam.below_height": shown.data.seam.below_height, "data.seam.below_share": shown.data.seam.below_share}
    assert shown == resolve_run("mini", small)
