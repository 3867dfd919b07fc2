"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from fila_lab.config.base import ConfigError, did_you_mean

if TYPE_CHECKING:
    from fila_lab.config import StudyConfig
    from fila_lab.modeling import FilaModel

Study = Annotated[str, typer.Argument(metavar="STUDY.yaml", help="Study file, or the name of one in experiments/.", show_default=False)]
BudgetName = Annotated[
    str | None,
    typer.Option("--budget", "-b", metavar="NAME", help="Budget of the study. Default: small, or its only one.", show_default=False),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a field, e.g. train.steps=300. Repeatable.", show_default=False),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Result folder. Default: runs/<study>-<budget>.", show_default=False)
]


Folder = Annotated[str, typer.Argument(metavar="STUDY", help="Study file, name in experiments/, or result folder.", show_default=False)]


class Opened(NamedTuple):
    """What a verb's arguments stand for: the study's file, the study, the budget's name, the result folder."""

    path: Path
    study: StudyConfig
    budget: str
    out: Path


def study_path(study: str) -> Path:
    """The file of a study given as a path or as a name in experiments/, that of the working directory or the one that is shipped."""
    from fila_lab.config.shipped import shipped, shipped_studies

    path = shipped(Path(study))
    if path.is_file():
        return path
    known = shipped_studies()
    if study in known:
        return known[study]
    if given := _preset_named(study):
        from fila_lab.config.loading import preset_given

        raise ConfigError(f"STUDY = {preset_given(given)}")
    if path.is_dir():
        inside = path / "study.yaml"
        remedy = f"give its study file, {inside}" if inside.is_file() else "give a study's YAML file"
        raise ConfigError(f"STUDY = {study}: is a folder; {remedy} (status, report, sync and ui take result folders too)")
    hint = did_you_mean(path.stem, known)
    names = f", or one of these names: {', '.join(known)}" if known else ""
    raise ConfigError(f"STUDY = {study}: no such file{hint}; give the path of a study{names}")


def _preset_named(name: str) -> str | None:
    """The preset of a name, or the recipe that lies in experiments/recipes; None where there is none."""
    from fila_lab.config import preset_names
    from fila_lab.config.shipped import shipped

    recipe = shipped(Path("experiments/recipes", f"{name}.yaml"))
    return name if name in preset_names() else str(recipe) if recipe.is_file() else None


def recipe_of(name: str) -> str:
    """What a RECIPE means: a preset's name, the name of one in experiments/recipes, or a file. ConfigError for a study's name."""
    if Path(name).suffix or "/" in name or (own := _preset_named(name)) is None:
        from fila_lab.config.shipped import shipped_studies

        if name in shipped_studies():
            from fila_lab.config.loading import study_given

            raise ConfigError(f"RECIPE = {study_given(name)}")
        return name
    return own


def open_study(study: str, budget: str | None, out: Path | None) -> Opened:
    """What a verb's arguments stand for; refuses an unknown budget, and a result folder that is a file."""
    from fila_lab.config import load_study
    from fila_lab.studies.arms import budget_name, get_budget
    from fila_lab.studies.folder import default_out

    path = study_path(study)
    loaded = load_study(path)
    name = budget_name(loaded, budget)
    get_budget(loaded, name)
    folder = out if out is not None else default_out(loaded, name)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out = {folder}: is a file; give a folder for the results, which may be a new one")
    return Opened(path, loaded, name, folder)


def declared_study(study: str) -> StudyConfig:
    """The study of a file, by whose declaration results can be judged."""
    from fila_lab.config import load_study
    from fila_lab.config.contrasts import check_contrasts
    from fila_lab.config.metrics import check_margin

    loaded = load_study(study_path(study))
    check_contrasts(loaded)
    check_margin(loaded.margin, [loaded.metric, *(family.metric for family in loaded.families.values() if family.metric)])
    return loaded


def result_folder(study: str, budget: str | None, out: Path | None) -> Path:
    """The result folder that a study (with its budget) or a folder's own path stands for; ConfigError when there is none."""
    if out is None and Path(study).is_dir():
        return own_budget(Path(study), budget)
    opened = open_study(study, budget, out)
    if not opened.out.is_dir():
        command = f"fila-lab run {study} --budget {opened.budget}"
        raise ConfigError(f"--out = {opened.out}: no such result folder; make it with `{command}`, or give its path")
    return opened.out


def own_budget(folder: Path, budget: str | None) -> Path:
    """A result folder that a verb was given itself, which says its budget; ConfigError for another --budget beside it."""
    if budget is None:
        return folder
    from fila_lab.config.json_files import read_json

    try:
        held = read_json(folder / "plan.json")["budget"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--budget = {budget!r}: {folder} has no plan that names a budget; leave --budget out") from None
    if held != budget:
        raise ConfigError(f"--budget = {budget!r}: {folder} holds the budget {held!r}; leave --budget out, or give that budget's folder")
    return folder


def saved_model(folder: Path) -> FilaModel | None:
    """The model of a folder of `fila-lab save`; None for any other folder, such as a cell's."""
    from fila_lab.config.saved import holds_saved

    if not holds_saved(folder):
        return None
    from fila_lab.hub.door import laboratory_model

    return laboratory_model(folder)


def refuse_foreign(out: Path, names: Sequence[str], mark: str, option: str = "--out") -> None:
    """Refuse a folder with somebody's files of the names that a verb writes there: it is the verb's own where the file `mark` is in it.

    Raises:
        ConfigError: naming them.
    """
    if not (out / mark).exists() and (foreign := [name for name in names if (out / name).exists()]):
        listed = ", ".join(foreign)
        raise ConfigError(f"{option} = {out} holds {listed} of something else, which would be written over; choose a new folder")
