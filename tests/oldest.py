"""The lower end of the supported versions, as constraints for pip: `make test-oldest` runs the tests with them.

Of a bound such as `torch>=2.6` these are the versions 2.6.*: the oldest minor version with its mends. What has no bound is pip's to choose.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9]+(?:\.[0-9]+)*)((?:,!=[0-9.]+)*)")


def oldest(dependencies: Iterable[str]) -> Iterator[str]:
    """A constraint for each dependency with a lower bound: its own versions, up to the next that differ in what the bound says."""
    for dependency in dependencies:
        if found := BOUND.match(dependency.replace(" ", "")):
            name, low, without = found.groups()
            *above, last = low.split(".")
            yield f"{name}>={low},<{'.'.join([*above, str(int(last) + 1)])}{without}"


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join(oldest(project["dependencies"])))
