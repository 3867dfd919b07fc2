"""A driver of the fake study in a process of its own, for tests that kill it: `python drive.py STUDY OUT BUDGET ENGINE`."""

from __future__ import annotations

import signal
import sys

import fake_cell

from fila_lab.studies import run_study, runner

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits it ignored
    runner.code_hash = lambda: "code"  # type: ignore[assignment]
    study, out, budget, engine = sys.argv[1:]
    run_study(
        study,
        out=out,
        budget=budget,
        engine=engine,
        tracking=False,
        cell_function="fake_cell:run_cell",
        prepare_function=None,
        measure=fake_cell.measure,
    )
