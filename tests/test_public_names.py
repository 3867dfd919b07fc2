"""`import fila_lab`: light, and every public name is there."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import fila_lab

USED = """
import sys, time
began = time.process_time()
import fila_lab
print(time.process_time() - began, *sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_importing_it_is_light() -> None:
    seconds, *loaded = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=True).stdout.split()
    assert float(seconds) < 0.2
    assert not {"torch", "lightning", "numpy", "pandas", "pydantic"} & set(loaded)


@pytest.mark.parametrize("name", fila_lab.__all__)
def test_every_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(fila_lab, name) is not None
    assert name in dir(fila_lab)


def test_what_a_notebook_needs_is_public() -> None:
    needed = {
        *("load_study", "resolve_run", "make_plan", "run_study", "study_status"),
        *("run_cell", "FilaData", "FilaModule", "FilaModel", "register", "predict"),
        *("StudyFolder", "load_study_frame", "load_predictions", "judge", "write_report", "power"),
    }
    assert needed <= set(fila_lab.__all__)
    assert fila_lab.__version__ == version("fila-lab")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fila_lab.no_such_name
