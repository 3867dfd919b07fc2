"""Which files are tried, and which tests are asked about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Files (patterns below the repository) and the tests that are to notice faults in them."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = (
    Room("fusion", ("fila_lab/modeling/fusion/*.py",), ("tests/modeling",)),
    Room(
        "detail maps",
        ("fila_lab/modeling/detail.py", "fila_lab/modeling/detail_input.py", "fila_lab/modeling/resample.py"),
        ("tests/modeling",),
    ),
    Room("encoder", ("fila_lab/modeling/encoder.py", "fila_lab/modeling/projector.py"), ("tests/modeling",)),
    Room(
        "geometry",
        (
            "fila_lab/imaging/geometry.py",
            "fila_lab/imaging/seams.py",
            "fila_lab/imaging/resample.py",
            "fila_lab/config/canvas_rules.py",
            "fila_lab/config/tiling.py",
        ),
        ("tests/imaging", "tests/config"),
    ),
    Room("sampler", ("fila_lab/data/sampler.py", "fila_lab/data/streams.py"), ("tests/data",)),
    Room("batches", ("fila_lab/training/batches.py",), ("tests/training", "tests/data")),
    Room("scores", ("fila_lab/evaluation/metrics.py", "fila_lab/evaluation/alignment.py"), ("tests/evaluation",)),
    Room("seam", ("fila_lab/evaluation/seam.py", "fila_lab/data/places.py"), ("tests/evaluation", "tests/data")),
    Room(
        "statistics",
        ("fila_lab/analysis/statistics.py", "fila_lab/analysis/bootstrap.py", "fila_lab/config/power.py"),
        ("tests/analysis",),
    ),
    Room("verdicts", ("fila_lab/analysis/verdicts.py", "fila_lab/analysis/contrasts.py",), ("tests/analysis",)),
    Room(
        "store", ("fila_lab/studies/store.py", "fila_lab/studies/result.py", "fila_lab/config/files.py"), ("tests/studies", "tests/config")
    ),
    Room("plan", ("fila_lab/studies/plan.py", "fila_lab/studies/arms.py"), ("tests/studies",)),
    Room("identity", ("fila_lab/studies/identity.py", "fila_lab/config/hashing.py"), ("tests/studies", "tests/config")),
)
