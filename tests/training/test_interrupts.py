"""Ctrl-C at any point of a cell reaches the driver, whatever Lightning makes of it."""

import signal
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny

from fila_lab.training import cell as module
from fila_lab.training.cell import run_cell
from fila_lab.training.interrupts import ctrl_c_passes


@pytest.mark.parametrize("phase", ["fit", "validate", "predict"])
def test_ctrl_c_while_lightning_works_is_a_keyboard_interrupt(
    phase: str, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Trainer's own answer to Ctrl-C, from where it is pressed."""
    before = signal.getsignal(signal.SIGINT)

    def interrupted(self: Any, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    hook = {"fit": "on_train_start", "validate": "on_validation_start", "predict": "on_predict_start"}[phase]
    monkeypatch.setattr(module.FilaModule, hook, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(tiny(fusion__name="none"), workdir=tmp_path / "work", cache_dir=cache_dir)
    assert signal.getsignal(signal.SIGINT) is before  # a second Ctrl-C still works


def test_another_exit_stays_one() -> None:
    with pytest.raises(SystemExit), ctrl_c_passes():
        raise SystemExit(3)
