"""The cache that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pools and features shared by the tests of a worker."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("cache")
