"""Canvas choice against transformers' LLaVA-NeXT and the published table."""

import random

import pytest

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.imaging import choose_canvas

PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))


def test_equals_transformers_over_random_sizes() -> None:
    from transformers.image_processing_utils import select_best_resolution

    rng = random.Random(0)
    reversed_order = [(height, width) for width, height in PINPOINTS]
    for index in range(1000):
        top = (30, 400, 1500, 5000)[index % 4]
        width, height = rng.randint(1, top), rng.randint(1, top)
        expected = select_best_resolution((height, width), reversed_order)
        chosen = choose_canvas(width, height, PINPOINTS)
        if expected is None:  # so long that nothing is left of it on any canvas: there transformers fails
            assert chosen in PINPOINTS
        else:
            assert chosen == expected[::-1], (width, height)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((640, 480), (672, 672)), ((480, 640), (672, 672)), ((2000, 500), (1008, 336)), ((1000, 1000), (672, 672))],
)
def test_published_table(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert choose_canvas(*size, PINPOINTS) == canvas


def test_ties_go_to_list_order() -> None:
    assert choose_canvas(100, 100, [(336, 672), (672, 336)]) == (336, 672)
    assert choose_canvas(100, 100, [(672, 336), (336, 672)]) == (672, 336)


def test_an_image_too_long_for_every_canvas_takes_the_greatest_scale() -> None:
    assert choose_canvas(20000, 100, [(84, 84), (126, 42), (42, 126)]) == (126, 42)
    assert choose_canvas(100, 20000, [(84, 84), (126, 42), (42, 126)]) == (42, 126)


def test_mistakes_name_the_field() -> None:
    with pytest.raises(FilaError, match="0x5"):
        choose_canvas(0, 5, PINPOINTS)
    with pytest.raises(ConfigError, match="canvases"):
        choose_canvas(5, 5, [])
    with pytest.raises(ConfigError, match="did you mean 'llava_next'"):
        choose_canvas(5, 5, PINPOINTS, "lava_next")
