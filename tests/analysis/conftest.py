"""Study folders with simulated results."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import write_study


@pytest.fixture(scope="session")
def full_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six arms, eight seeds, tuning, gallery, one failed cell. Read only: tests that write to it copy it first."""
    return write_study(tmp_path_factory.mktemp("full"), gallery=True, failed={("addition", 5): "not_finite"})


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, three seeds, no tuning, no gallery."""
    return write_study(
        tmp_path_factory.mktemp("small"), arms=("none", "concat"), seeds=(0, 1, 2), triplets=30, tuning=False, budget="small"
    )
