"""A driver of a test's study in a process of its own, to be killed: `python drive.py STUDY OUT BUDGET ENGINE [JSON of further options]`.

By default of the fake cell; `{"real": true}` runs the real one, with a checkpoint every few steps.
"""

from __future__ import annotations

import json
import signal
import sys

import fake_cell

from fila_lab.studies import run_study, runner
from fila_lab.studies.engines import cluster

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits it ignored
    runner.code_hash = lambda *_: "code"  # type: ignore[assignment]
    cluster.PASSED_ON = (*cluster.PASSED_ON, "FAKE_")
    study, out, budget, engine, *further = sys.argv[1:]
    options = {"tracking": False, **json.loads(further[0] if further else "{}")}
    if options.pop("real", False):
        options |= {"cell_function": "often_cell:run_cell"}
    else:
        options |= {"cell_function": "fake_cell:run_cell", "prepare_function": None}
    run_study(study, out=out, budget=budget, engine=engine, measure=fake_cell.measure, **options)
