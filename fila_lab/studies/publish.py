"""Copy what others need of a result folder, to be committed: results, manifests, predictions, costs, tuning, report.

Checkpoints, logs and databases stay behind.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fila_lab.config import FilaError

KEPT = ("study.yaml", "plan.json", "costs*.json", "calibration.md", "tuning/*.yaml", "tuning/*.csv", "gallery/*", "report/**/*")
KEPT_OF_A_CELL = ("result.json", "manifest.json", "predictions.parquet")


def publish(source: Path, target: Path) -> int:
    """Replace TARGET by the published form of SOURCE; returns the number of files.

    Raises:
        FilaError: SOURCE is no result folder, or holds TARGET.
    """
    if not (source / "plan.json").is_file():
        raise FilaError(f"FOLDER={source}: no plan.json in it, so it is no result folder; give the --out of a run")
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise FilaError(f"--to={target} lies in the folder to be published; choose another, e.g. experiments/results/{source.name}")
    patterns = (*KEPT, *(f"cells/*/{name}" for name in KEPT_OF_A_CELL))
    files = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    fresh = target.with_name(f".{target.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for path in files:
            copy = fresh / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise FilaError(f"--to={target}: cannot be written ({error.strerror or error}); free space or choose another folder") from error
    return len(files)
