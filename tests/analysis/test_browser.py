"""The report in a real browser: at three widths, in both schemes, nothing overflows, texts can be read, pictures are told in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import chromium
import numpy as np
import pytest
from PIL import Image
from synthetic import write_study

from fila_lab import analysis

WIDTHS = (390, 800, 1400)
SCHEMES = ("light", "dark")
LARGEST = 3_000_000
LEGIBLE = 4.5
PROBE = (Path(__file__).parent / "page_probe.js").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.find() is None, reason="no Chromium on this machine: install `chromium` to look at reports"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms, failed = ("none", "concat", "addition", "foreign"), {("addition", 5): "not_finite"}
    out = write_study(tmp_path_factory.mktemp("seen"), arms=arms, triplets=24, gallery=True, failed=failed)
    return analysis.write_report(out)


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    program = chromium.find()
    assert program is not None
    with chromium.opened(program) as running:
        yield running


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_can_be_read(browser: chromium.Browser, page: Path, width: int, scheme: str, tmp_path: Path) -> None:
    browser.open(page, width, scheme)
    seen = json.loads(browser.script(PROBE))
    assert seen["scroll_width"] <= width, seen["overflowing"]
    assert not seen["clipped_verdicts"], "a verdict is off the screen"
    assert not seen["pale"], f"contrast below {LEGIBLE}"
    assert seen["texts"] > 100
    assert not seen["untold"], "pictures without a text"
    assert not seen["broken"], "pictures that do not show"
    assert seen["language"] == "en"
    assert not seen["headings_skipped"]
    assert not seen["headers_without_scope"]
    assert seen["dark"] == (scheme == "dark")
    assert [url for url in browser.requested if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in browser.requested if url.startswith("file:")]) == 1, "the page alone"
    picture = tmp_path / f"{width}-{scheme}.png"
    picture.write_bytes(browser.picture())
    with Image.open(picture) as image:
        assert image.width == width
        ground = np.asarray(image.convert("L"))[3, 3]
    assert (ground < 60) == (scheme == "dark")


def test_figures_follow_the_scheme(browser: chromium.Browser, page: Path) -> None:
    """The ground of every embedded figure is the page's."""
    grounds = {}
    for scheme in SCHEMES:
        browser.open(page, 800, scheme)
        grounds[scheme] = browser.script(
            """(() => [...document.querySelectorAll('.panels img')].map(image => {
              const canvas = document.createElement('canvas'); canvas.width = image.width; canvas.height = image.height;
              const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0, image.width, image.height);
              return [...pen.getImageData(2, 2, 1, 1).data].slice(0, 3).join(','); }))()"""
        )
    assert len(grounds["light"]) > 8
    assert set(grounds["light"]) == {"255,255,255"}
    assert set(grounds["dark"]) == {"20,24,28"}


def test_tables_sort_by_click_and_by_key_and_hand_out_their_numbers(browser: chromium.Browser, page: Path) -> None:
    browser.open(page, 1400, "light")
    column = "[...document.querySelectorAll('.contrasts')][0]"
    means = f"[...{column}.tBodies[0].rows].map(row => parseFloat(row.cells[1].innerText.replaceAll('−', '-')))"
    browser.script(f"{column}.tHead.rows[0].cells[1].querySelector('button').click()")
    rising = browser.script(means)
    assert rising == sorted(rising)
    browser.script(f"{column}.tHead.rows[0].cells[1].querySelector('button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    falling = browser.script(means)
    assert falling == sorted(rising, reverse=True)
    assert browser.script(f"{column}.tHead.rows[0].cells[1].getAttribute('aria-sort')") == "descending"
    text = browser.script("fetch(document.querySelector('a[download$=\"-verdicts.csv\"]').href).then(got => got.text())")
    assert text == (page.parent / "tables" / "verdicts.csv").read_text(encoding="utf-8")


def test_the_page_is_light_enough_to_be_sent(page: Path) -> None:
    assert page.stat().st_size < LARGEST
