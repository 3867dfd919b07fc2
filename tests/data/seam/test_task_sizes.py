"""`data.seam.sizes`: a task's own factor on the sizes of what its pages show, and of no other's."""

from __future__ import annotations

import numpy as np
import pytest

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.data import SEAM_TASKS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam.suite import SeamSuite

GEOMETRY = GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3)
COUNT = 12


def pages(sizes: dict[str, float], task: str) -> list[tuple[float, str]]:
    """Of a few pages: mean height of what stands on the target's block, px, and the answer."""
    suite = SeamSuite(SeamConfig.model_validate({"tasks": {task: 1}, "sizes": sizes, "photo_share": 0}), GEOMETRY)
    drafts = [suite.unpainted("test", index)[0] for index in range(COUNT)]
    return [(float(np.mean([mark.box[3] - mark.box[1] for mark in draft.blocks[0].marks])), draft.answer) for draft in drafts]


@pytest.mark.parametrize("task", SEAM_TASKS)
def test_a_factor_sizes_what_its_task_shows(task: str) -> None:
    """Half the size is about half as high, over a few pages together; another task's factor changes no page."""
    usual, half = (np.mean([height for height, _ in pages(sizes, task)]) for sizes in ({}, {task: 0.5}))
    assert 0.35 * usual < half < 0.75 * usual
    other = next(name for name in SEAM_TASKS if name != task)
    assert pages({other: 0.5}, task) == pages({}, task) == pages({task: 1.0}, task)


@pytest.mark.parametrize("factor", [0, -1, 3.3, 0.01])
def test_a_size_that_nothing_can_have_is_refused(factor: float) -> None:
    """No ink, or more than a tile."""
    with pytest.raises(ConfigError, match=r"data\.seam\.sizes\.reading = .*; choose"):
        resolve_run("mini", {"data.seam.sizes": {"reading": factor}})


def test_configurations_without_sizes_stay_as_they_are() -> None:
    """Ids of items and cells from before there was this field."""
    assert "sizes" not in SeamConfig().model_dump()
    assert SeamConfig.model_validate({"sizes": {"table": 1.1}}).model_dump()["sizes"] == {"table": 1.1}
