"""A mini-like configuration, and items drawn once for all tests."""

from __future__ import annotations

import pytest

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam import SeamItem, SeamSuite


@pytest.fixture(scope="session")
def geometry() -> GeometryConfig:
    return GeometryConfig(tile=42, patch=14, canvases=((42, 84), (84, 42), (84, 84), (126, 42), (42, 126)), resample="area", detail_cells=3)


@pytest.fixture(scope="session")
def suite(geometry: GeometryConfig) -> SeamSuite:
    return SeamSuite(SeamConfig(), geometry)


@pytest.fixture(scope="session")
def triplets(suite: SeamSuite) -> list[tuple[SeamItem, SeamItem, SeamItem]]:
    return [suite.triplet("test", index) for index in range(80)]


@pytest.fixture(scope="session")
def train(suite: SeamSuite) -> list[SeamItem]:
    return [suite.item("train", index) for index in range(700)]
