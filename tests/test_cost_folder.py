"""A measurement writes over nothing of somebody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.cli import main
from fila_lab.cli.cost_report import WRITTEN


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_somebody_are_not_written_over(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["cost", "--measure", "--preset", "mini", "--out", str(tmp_path)])
    assert left.value.code == 2
    assert f"holds {name} of something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
