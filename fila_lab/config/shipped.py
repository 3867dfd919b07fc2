"""Studies and recipes that come with the package: experiments/ of the repository, which a wheel carries within the package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
EXPERIMENTS = "experiments"
"""The folder's name, in the repository and in the package of a wheel."""


def experiments() -> Path | None:
    """The folder of shipped studies: that of the package where it is installed, or beside the package in a repository; None where neither
    is."""
    places = (PACKAGE / EXPERIMENTS, PACKAGE.parent / EXPERIMENTS)
    return next((place for place in places if (place / "fusion_methods.yaml").is_file()), None)


def shipped_studies() -> dict[str, Path]:
    """Name -> file of every study in the working directory's experiments/, and of shipped ones of other names."""
    folders = [folder for folder in (experiments(), Path(EXPERIMENTS)) if folder is not None]
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def shipped(path: Path) -> Path:
    """A path that is not there but begins with experiments/, as the pages write it: the shipped file, where there is one. Any other path as
    it is."""
    if path.exists() or path.parts[:1] != (EXPERIMENTS,):
        return path
    folder = experiments()
    found = folder.joinpath(*path.parts[1:]) if folder is not None else path
    return found if found.is_file() else path
