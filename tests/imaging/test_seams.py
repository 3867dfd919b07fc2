"""Cut, uncut, and in between."""

import numpy as np
import pytest

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.imaging import Geometry, cut_by_seam, cut_fraction

CONFIG = GeometryConfig(tile=42, canvases=((84, 84), (126, 42)), detail_cells=3)
PAGE = Geometry.of(384, 384, CONFIG)  # seams at canvas px 42, page px 192


@pytest.mark.parametrize(
    ("box", "fraction", "verdict"),
    [
        ((180, 10, 204, 30), 0.5, True),
        ((189, 10, 209, 30), 0.15, True),
        ((190, 10, 210, 30), 0.1, None),
        ((192, 10, 212, 30), 0.0, False),
        ((172, 10, 192, 30), 0.0, False),
        ((10, 191, 30, 201), 0.1, None),
        ((190, 187, 210, 197), 0.5, True),
        ((0, 0, 384, 384), 0.5, True),
    ],
)
def test_boxes(box: tuple[float, ...], fraction: float, verdict: bool | None) -> None:
    assert cut_fraction(box, PAGE) == pytest.approx(fraction)
    assert cut_by_seam(box, PAGE) is verdict
    ink = np.zeros((384, 384), bool)
    ink[box[1] : box[3], box[0] : box[2]] = True  # type: ignore[misc]
    assert cut_fraction(ink, PAGE) == pytest.approx(fraction)
    assert cut_by_seam(ink, PAGE) is verdict


def test_ink_counts_and_not_its_box() -> None:
    ink = np.zeros((384, 384), bool)
    ink[10:30, 180:192] = True
    ink[10, 192:204] = True  # a thin bar across the seam: half the box, a twentieth of the ink
    assert cut_fraction(ink, PAGE) == pytest.approx(12 / (240 + 12))
    assert cut_by_seam(ink, PAGE) is None
    assert cut_by_seam((180, 10, 204, 30), PAGE) is True


def test_two_separate_strokes_on_both_sides_are_cut() -> None:
    ink = np.zeros((384, 384), bool)
    ink[10:30, 150:160] = ink[10:30, 220:230] = True
    assert cut_fraction(ink, PAGE) == pytest.approx(0.5)


def test_a_seam_inside_an_image_pixel_shares_its_ink() -> None:
    small = Geometry.of(3, 3, CONFIG.model_copy(update={"canvases": ((84, 84),)}))
    ink = np.zeros((3, 3), bool)
    ink[0, 1] = True
    assert cut_fraction(ink, small) == pytest.approx(0.5)


def test_the_pad_is_counted_in_the_map() -> None:
    geometry = Geometry.of(1000, 800, CONFIG)  # 84 x 68 px from canvas y 8: the seam at 42 is image y 400
    assert geometry.canvas == (84, 84)
    assert cut_by_seam((10, 390, 20, 410), geometry) is True
    assert cut_by_seam((10, 400, 20, 420), geometry) is False


def test_mistakes() -> None:
    with pytest.raises(FilaError, match="shape"):
        cut_fraction(np.ones((3, 384), bool), PAGE)
    with pytest.raises(FilaError, match="empty"):
        cut_fraction(np.zeros((384, 384), bool), PAGE)
    with pytest.raises(FilaError, match="no length"):
        cut_by_seam((5, 5, 5, 9), PAGE)
