"""One driver a folder, or one a shard."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fila_lab.config import ConfigError, FilaError
from fila_lab.studies.lock import Shard, StudyLock, holders

HOLD = """
import sys, time
from pathlib import Path
from fila_lab.studies.lock import StudyLock
with StudyLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_by_name_until_the_first_dies(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(FilaError, match=rf"process {first.pid} on {socket.gethostname()}.*--shard"), StudyLock(tmp_path):
            pass
        with pytest.raises(FilaError, match=f"process {first.pid}"), StudyLock(tmp_path, Shard(0, 2)):
            pass
    finally:
        first.kill()
        first.wait()
    with StudyLock(tmp_path):
        assert str(os.getpid()) in holders(tmp_path)[0]
    assert holders(tmp_path) == []


def test_shards_share_a_folder_but_not_a_share(tmp_path: Path) -> None:
    with StudyLock(tmp_path, Shard(0, 2)), StudyLock(tmp_path, Shard(1, 2)):
        assert len(holders(tmp_path)) == 2
        with pytest.raises(FilaError, match="shard 0/2"), StudyLock(tmp_path, Shard(0, 2)):
            pass
        with pytest.raises(FilaError, match="shard 1/2"), StudyLock(tmp_path):
            pass


def test_shards_are_named_i_of_n() -> None:
    assert Shard.parse("1/3") == Shard(1, 3)
    for wrong in ("3/3", "1", "-1/2", "a/b", ""):
        with pytest.raises(ConfigError, match="--shard"):
            Shard.parse(wrong)
