"""The verbs of `fila-lab` in the order of work, which is that of `--help`."""

from __future__ import annotations

from fila_lab.cli import (
    arms,
    audit,
    chat,
    check,
    compare,
    cost,
    data,
    doctor,
    evaluate,
    keys,
    probe,
    save,
    score,
    studies,
    tools,
    train,
    ui,
    weights,
)
from fila_lab.cli.app import app, main

for _verb in (
    studies.plan,
    studies.run,
    studies.status,
    arms.arms,
    studies.report,
    studies.sync,
    ui.ui,
    studies.publish,
    compare.reproduce,
    compare.diff,
    train.train,
    tools.predict,
    chat.chat,
    save.save,
    evaluate.evaluate,
    score.score,
    audit.audit,
    probe.probe,
    cost.cost,
    tools.calibrate,
    tools.pretrain,
    weights.weights,
    keys.keys,
    doctor.doctor,
):
    app.command()(_verb)
data.data_app.command("check")(check.data_check)
app.add_typer(data.data_app, name="data")
app.add_typer(tools.presets_app, name="presets")

__all__ = ["app", "main"]
