"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.config.base import ConfigError, did_you_mean

if TYPE_CHECKING:
    from fila_lab.config import StudyConfig

Study = Annotated[str, typer.Argument(metavar="STUDY.yaml", help="Study file, or the name of one in experiments/.", show_default=False)]
BudgetName = Annotated[str, typer.Option("--budget", "-b", metavar="NAME", help="Budget of the study: small, full, ...")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a field, e.g. train.steps=300. Repeatable.", show_default=False),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Result folder. Default: runs/<study>-<budget>.", show_default=False)
]


Folder = Annotated[str, typer.Argument(metavar="STUDY", help="Study file, name in experiments/, or result folder.", show_default=False)]


def study_path(study: str) -> Path:
    """The file of a study given as a path or as a name in experiments/."""
    path = Path(study)
    if path.is_file():
        return path
    folder = Path("experiments")
    shipped = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if study in shipped:
        return shipped[study]
    hint = did_you_mean(path.stem, shipped)
    examples = f", e.g. {', '.join(map(str, shipped.values()))}" if shipped else ""
    raise ConfigError(f"STUDY = {study}: no such file{hint}; give the path of a study{examples}")


def open_study(study: str, budget: str, out: Path | None) -> tuple[Path, StudyConfig, Path]:
    """(file, study, result folder) of a verb's arguments; refuses an unknown budget."""
    from fila_lab.config import load_study
    from fila_lab.studies.arms import get_budget

    path = study_path(study)
    loaded = load_study(path)
    get_budget(loaded, budget)
    return path, loaded, out if out is not None else Path("runs") / f"{loaded.name}-{budget}"


def result_folder(study: str, budget: str, out: Path | None) -> Path:
    """The result folder that a study (with its budget) or a folder's own path stands for; ConfigError when there is none."""
    if out is None and Path(study).is_dir():
        return Path(study)
    _, _, folder = open_study(study, budget, out)
    if not folder.is_dir():
        command = f"fila-lab run {study} --budget {budget}"
        raise ConfigError(f"--out = {folder}: no such result folder; make it with `{command}`, or give its path")
    return folder
