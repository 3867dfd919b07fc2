"""What the page on clusters shows can be read by a shell, and by the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from fila_lab.cli.verbs import app
from fila_lab.studies.lock import Shard

PAGE = (Path(__file__).parents[1] / "docs" / "how_to" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_block_is_a_shell_script() -> None:
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        told = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr


def test_every_command_has_the_options_that_run_has() -> None:
    import typer

    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {option for parameter in run.params for option in parameter.opts}
    commands = re.findall(r"fila-lab run (.*?)(?:\n|$)", "\n".join(BLOCKS).replace("\\\n", " "))
    assert len(commands) >= 6
    for command in commands:
        words = [word for word in shlex.split(command, comments=True) if word.startswith("--")]
        assert set(words) <= known, command


@pytest.mark.parametrize("task", range(3))
def test_an_array_that_counts_from_0_gives_shares(task: int) -> None:
    assert "--array=0-" in PAGE
    assert Shard.parse(f"{task}/3") == Shard(task, 3)
