"""What pyproject.toml cannot say: a wheel carries the studies and recipes of experiments/ as package data, in fila_lab/experiments."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

EXPERIMENTS = Path(__file__).parent / "experiments"


class WithExperiments(build_py):
    """Puts them beside the modules of a build; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in sorted(EXPERIMENTS.rglob("*.yaml")):
            inside = file.relative_to(EXPERIMENTS)
            if inside.parts[0] != "results":
                target = Path(self.build_lib, "fila_lab", "experiments", inside)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": WithExperiments})
