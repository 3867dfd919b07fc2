"""Other canvases and detail resolutions of a run, and the messages for those that cannot be."""

from __future__ import annotations

import pytest

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.sizes import at_size, parse_details, parse_sizes, sized_runs
from fila_lab.cost.closed.components import component_costs


def test_sizes_and_details_are_read() -> None:
    assert parse_sizes("336x672, 672X672,336x672") == ((336, 672), (672, 672))
    assert parse_details("16, 24,32") == (16, 24, 32)


@pytest.mark.parametrize("text", ["672", "672x", "x672", "axb", "0x672", "672x672;336x336"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        parse_sizes(text)


@pytest.mark.parametrize("text", ["", "a", "0", "16;24", "-1"])
def test_a_detail_resolution_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="stage-4 cells a tile side"):
        parse_details(text)


def test_sizes_that_cannot_be() -> None:
    paper = resolve_run("paper")
    with pytest.raises(ConfigError, match="500x672 is not a whole number of tiles of 336 px"):
        at_size(paper, (500, 672))
    with pytest.raises(ConfigError, match="more than 16384"):
        at_size(paper, (672, 672), 400)


def test_every_arm_at_every_size() -> None:
    runs = {"none": resolve_run("paper", {"fusion.name": "none"}), "concat": resolve_run("paper")}
    sized = sized_runs(runs, ((336, 672), (672, 672)), (16, 24))
    assert [key for key in sized if key[0] == "none"] == [("none", (336, 672), 24), ("none", (672, 672), 24)]
    assert [key[1:] for key in sized if key[0] == "concat"] == [((336, 672), 16), ((336, 672), 24), ((672, 672), 16), ((672, 672), 24)]
    cheap, dear = (component_costs(sized["concat", (672, 672), cells])["convnext"].flops for cells in (16, 24))
    assert dear / cheap == pytest.approx((24 / 16) ** 2)
    assert list(sized_runs(runs, None, None)) == [("none", (672, 672), 24), ("concat", (672, 672), 24)]
