"""`fila-lab arms`: a study's arms, or the front of its sweep as a study file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.cli.options import BudgetName, Folder, Out, open_study, result_folder


def arms(
    study: Folder,
    budget: BudgetName = None,
    out: Out = None,
    front: Annotated[bool, typer.Option("--front", help="Print the points of the sweep's front as a study file.")] = False,
) -> None:
    """The arms of a study, with what they set; or, with --front, the points that its sweep has found, as a study file to be changed,
    planned and run.

    \b
    fila-lab arms experiments/accuracy_cost.yaml
    fila-lab arms accuracy_cost --budget full --front > front.yaml
    fila-lab plan front.yaml
    """
    if front:
        from fila_lab.studies.searches.front_study import front_text

        typer.echo(front_text(result_folder(study, budget, out)), nl=False)
        return
    from fila_lab.cli.text import table
    from fila_lab.config import FilaError, StudyConfig
    from fila_lab.studies.folder import read_plan

    if out is None and Path(study).is_dir():
        plan = read_plan(Path(study))
        if plan is None:
            raise FilaError(f"STUDY = {study}: holds no plan.json; give a study file, or the folder of a study")
        declared = StudyConfig.model_validate(plan["study"])
    else:
        declared = open_study(study, budget, out).study
    rows = [(name, arm.role, arm.label or "", json.dumps(arm.set)) for name, arm in declared.arms.items()]
    typer.echo(table(("arm", "role", "label", "set"), rows, left=4))
