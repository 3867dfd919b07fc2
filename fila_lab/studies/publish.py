"""Copy what others need of a result folder, to be committed: results, manifests, predictions, costs, tuning, report.

Checkpoints, logs and databases stay behind. What is published carries a mark (`MANIFEST.json`), and only a folder with the mark of the
same study is ever replaced; whatever else lies in it is carried over.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.config.files import sync
from fila_lab.config.hashing import file_sha256
from fila_lab.config.published import MANIFEST, Mark, read_mark, write_mark
from fila_lab.studies.folder import read_plan
from fila_lab.studies.replace import begin, entries, swap

log = logging.getLogger("fila_lab")

KEPT = ("study.yaml", "plan.json", "costs*.json", "calibration.md", "tuning/*.yaml", "tuning/*.csv", "gallery/*", "report/**/*")
KEPT_OF_A_CELL = ("result.json", "manifest.json", "predictions.parquet")
OLDER = (
    *("study.yaml", "plan.json", "costs.json", "costs.manifest.json", "costs.rounds.json", "calibration.md"),
    *("tuning/trials.csv", "tuning/winners.yaml", "gallery/gallery.json", "gallery/*.png", "report/report.html", "report/report.md"),
    *("report/figures/*.png", "report/figures/*.svg", "report/tables/*.csv", "report/tables/*.tex"),
    *(f"cells/{'[0-9a-f]' * 16}/{name}" for name in KEPT_OF_A_CELL),
)
"""What is ours in a folder that was published before there was a mark."""
OF_A_RUN = ("lock*.json", "*.lock", "work", "logs", "mlflow*", "mlartifacts", "cells/*/model.safetensors")
"""What only the folder of a run holds: its results are the truth, and no copy of one."""


def publish(source: Path, target: Path) -> int:
    """Publish SOURCE as TARGET, which is new, empty, or holds published results of the same study; returns the number of files.

    A kill at any instant leaves the former TARGET or the new one, and the same command goes on.

    Raises:
        FilaError: SOURCE is no result folder; TARGET is something else, or holds changes of somebody; it cannot be written.
    """
    plan = read_plan(source)
    if plan is None:
        raise FilaError(f"FOLDER={source}: no readable plan.json in it, so it is no result folder; give the --out of a run")
    example = f"experiments/results/{plan['study']['name']}"
    try:
        home = _home(source, target)
        with begin(home) as fresh:
            before = _ours(target, plan["study"]["name"], example)
            files = _files(source)
            for path in files:
                copy = fresh / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                sync(copy)
            mark = Mark(plan["study"]["name"], plan["budget"], {path.relative_to(source).as_posix(): file_sha256(path) for path in files})
            _refuse_changed(target, before, mark)
            write_mark(fresh, mark)
            swap(fresh, home, before)
    except OSError as error:
        remedy = "free space, mend its permissions, or choose another folder; what was there is untouched"
        raise FilaError(f"--to={target}: cannot be written ({error.strerror or error}); {remedy}") from error
    except (ValueError, RuntimeError) as error:  # what pathlib says of a null character, and of links in a circle
        raise FilaError(f"--to={str(target)!r} is no path ({error}); choose a folder of its own, e.g. {example}") from error
    return len(files) + 1


def _home(source: Path, target: Path) -> Path:
    """The target's own path.

    Raises:
        FilaError: it is a link, a file, or a folder that nothing may replace.
    """
    example = f"choose a folder of its own, e.g. experiments/results/{source.resolve().name}"
    if target.is_symlink():
        raise FilaError(f"--to={target} is a symbolic link to {os.readlink(target)}, and links are not followed; {example}")
    home, here, origin = target.resolve(), Path.cwd().resolve(), source.resolve()
    if home == here or home in here.parents:
        raise FilaError(f"--to={target} is the working directory, or holds it; {example}")
    if home == origin or origin in home.parents or home in origin.parents:
        raise FilaError(f"--to={target} is the folder to be published, lies in it, or holds it; {example}")
    if home.exists() and not home.is_dir():
        raise FilaError(f"--to={target} is a file; {example}")
    return home


def _ours(target: Path, study: str, example: str) -> dict[str, str]:
    """Path below the target -> sha256 as it was published ("" where that is not known), of what we wrote there.

    Raises:
        FilaError: it holds something else, or another study's results.
    """
    if not target.exists() or not any(target.iterdir()):
        return {}
    mark, plan = read_mark(target), read_plan(target)
    if mark is None and plan is not None and not os.path.lexists(target / MANIFEST) and not _of_a_run(target):
        older = (path for pattern in OLDER for path in target.glob(pattern) if path.is_file() and not path.is_symlink())
        ours = {path.relative_to(target).as_posix(): "" for path in older}
        mark = Mark(plan["study"]["name"], plan["budget"], ours)
    if mark is None:
        raise FilaError(
            f"--to={target} exists and holds no published results ({MANIFEST} is missing or another's), so it is not replaced; "
            f"choose another, e.g. {example}, or move it away"
        )
    if mark.study != study:
        raise FilaError(f"--to={target} holds the published results of study {mark.study!r}, not {study!r}; choose another, e.g. {example}")
    return mark.files | {MANIFEST: ""}


def _of_a_run(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in OF_A_RUN)


def _files(source: Path) -> list[Path]:
    """The files to publish; a link is left out, and said."""
    patterns = (*KEPT, *(f"cells/*/{name}" for name in KEPT_OF_A_CELL))
    found = sorted({path for pattern in patterns for path in source.glob(pattern)})
    links = [path.relative_to(source) for path in found if _through_link(path, source)]
    if links:
        shown = ", ".join(map(str, links[:3])) + (f" and {len(links) - 3} more" if len(links) > 3 else "")
        log.warning("%s: %s lie behind symbolic links and are left out; put the files themselves there", source, shown)
    return [path for path in found if path.is_file() and not _through_link(path, source) and path != source / MANIFEST]


def _through_link(path: Path, source: Path) -> bool:
    return any(step.is_symlink() for step in (path, *path.parents[: len(path.relative_to(source).parts) - 1]))


def _refuse_changed(target: Path, before: dict[str, str], mark: Mark) -> None:
    """Refuse to write over, or to drop, what somebody has put there or changed since it was published."""
    present = entries(target) if before else ()
    changed = [name for name in present if _changed(target / name, before.get(name), mark.files.get(name), name == MANIFEST)]
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise FilaError(
            f"--to={target}: {shown} changed since it was published, or {'stands' if len(changed) == 1 else 'stand'} where new results "
            "would; move that away, or choose another folder; nothing was replaced"
        )


def _changed(path: Path, published: str | None, fresh: str | None, is_mark: bool) -> bool:
    """Whether a replacement would lose these bytes: they are neither as published nor what is written now."""
    if is_mark or published == "" or (published is None and fresh is None):
        return False
    if path.is_symlink() or not path.is_file():
        return True
    return file_sha256(path) not in (published, fresh)
