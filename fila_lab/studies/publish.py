"""Publish a result folder in a compact form, to be committed: study, plan, tables of cells, items and predictions, costs, tuning, report.

Checkpoints, logs, databases and the gallery stay behind; pages, tables and gallery are built from what is published. It carries a mark
(`MANIFEST.json`), and only a folder with the mark of the same study is ever replaced; whatever else lies in it is carried over.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, StudyConfig
from fila_lab.config.compact import TABLES, is_compact, open_cells, write_compact
from fila_lab.config.declaration import declaration, judged_by
from fila_lab.config.files import sync, write_atomically
from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json
from fila_lab.config.published import MANIFEST, Mark, altered, read_mark, write_mark
from fila_lab.config.renamed import present_plan
from fila_lab.studies.folder import read_plan
from fila_lab.studies.plan import study_hash
from fila_lab.studies.replace import begin, entries, swap

log = logging.getLogger("fila_lab")

KEPT = (
    *("study.yaml", "plan.json", "costs.json", "costs.manifest.json", "costs.rounds.json", "calibration.md"),
    *("tuning/*.yaml", "tuning/*.csv", "tuning/cells.jsonl", "sweep/trials.json", "sweep/costs.json", "sweep/cells.jsonl"),
)
"""Files that are published as they are."""
OF_A_CELL = ("result.json", "manifest.json", "predictions.parquet")
OLDER = (
    *KEPT,
    *("gallery/gallery.json", "gallery/*.png", "report/report.html", "report/report.md"),
    *("report/figures/*.png", "report/figures/*.svg", "report/tables/*.csv", "report/tables/*.tex"),
    *(f"cells/{'[0-9a-f]' * 16}/{name}" for name in OF_A_CELL),
)
"""What is ours in a folder that was published before there was a mark."""
OF_A_RUN = ("lock*.json", "*.lock", "work", "logs", "mlflow*", "mlartifacts", "cells/*/model.safetensors")
"""What only the folder of a run holds: its results are the truth, and no copy of one."""
Report = Callable[[Path], object]
"""Writes the report into a folder of published results."""


def publish(source: Path, target: Path | None = None, report: Report | None = None, by: StudyConfig | None = None) -> int:
    """Publish SOURCE as TARGET, which is new, empty, or holds published results of the same study; returns the number of files.

    Without a TARGET, SOURCE is published results, and brought to the present form. `by`: the study as its file declares it now, by which
    what is published is judged from then on; the declaration as it stood is kept. A kill at any instant leaves the former TARGET or the
    new one, and the same command goes on.

    Raises:
        FilaError: SOURCE is no result folder, or holds published results that were changed; `by` is another study, or plans other
            cells; TARGET is something else, or holds changes of somebody; it cannot be written; or what `report` raises.
    """
    plan = read_plan(source)
    if plan is None:
        raise FilaError(f"FOLDER={source}: no readable plan.json in it, so it is no result folder; give the --out of a run")
    example = f"experiments/results/{plan['study']['name']}"
    field, given = ("FOLDER", source) if target is None else ("--to", target)
    shown = f"{field}={given}"
    try:
        home = _home(source, target) if target is not None else _itself(source, example)
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a null character, links in a circle
        raise FilaError(f"{field}={str(given)!r} is no path ({error}); choose a folder of its own, e.g. {example}") from error
    try:
        _refuse_damaged(source)
        with begin(home) as fresh:
            before = _ours(home, plan["study"]["name"], shown, example)
            try:
                _fill(fresh, source, plan)
                if by is not None:
                    _declare(fresh / "plan.json", by)
                if report is not None:
                    report(fresh)
            except FilaError as error:  # what is wrong with the copy is wrong with its source, which is there to be mended
                raise FilaError(str(error).replace(str(fresh), str(source))) from error
            files = {name: file_sha256(fresh / name) for name in entries(fresh)}
            for name in files:
                sync(fresh / name)
            mark = Mark(plan["study"]["name"], plan["budget"], files)
            _refuse_changed(home, before, mark, shown)
            write_mark(fresh, mark)
            swap(fresh, home, before)
    except OSError as error:
        remedy = "free space, mend its permissions, or choose another folder; what was there is untouched"
        raise FilaError(f"{shown}: cannot be written ({error.strerror or error}); {remedy}") from error
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
        own = "" if home != origin or not is_published(source) else "; leave out --to to bring it to the present form"
        raise FilaError(f"--to={target} is the folder to be published, lies in it, or holds it{own or f'; {example}'}")
    if home.exists() and not home.is_dir():
        raise FilaError(f"--to={target} is a file; {example}")
    return home


def _itself(source: Path, example: str) -> Path:
    """The path of published results that are to be brought to the present form.

    Raises:
        FilaError: they are a run's.
    """
    home, here = source.resolve(), Path.cwd().resolve()
    if not is_published(source):
        raise FilaError(f"FOLDER={source} is a run's folder, which stays as it is; say where to publish it, e.g. --to {example}")
    if source.is_symlink() or home == here or home in here.parents:
        raise FilaError(f"FOLDER={source} is a link, the working directory, or holds it, so it is not replaced; give it from outside")
    return home


def is_published(folder: Path) -> bool:
    """Whether a result folder was published: it has our mark, or holds nothing but what was published before there was one."""
    return read_mark(folder) is not None or (_older(folder) is not None and set(entries(folder)) <= set(_older_files(folder)))


def _older(folder: Path) -> dict[str, Any] | None:
    """The plan of a folder that may have been published before there was a mark."""
    return None if os.path.lexists(folder / MANIFEST) or _of_a_run(folder) else read_plan(folder)


def _older_files(folder: Path) -> list[str]:
    found = (path for pattern in OLDER for path in folder.glob(pattern) if path.is_file() and not path.is_symlink())
    return [path.relative_to(folder).as_posix() for path in found]


def _ours(home: Path, study: str, shown: str, example: str) -> dict[str, str]:
    """Path below the folder -> sha256 as it was published ("" where that is not known), of what we wrote there.

    Raises:
        FilaError: it holds something else, or another study's results.
    """
    if not home.exists() or not any(home.iterdir()):
        return {}
    mark = read_mark(home)
    if mark is None and (plan := _older(home)) is not None:
        mark = Mark(plan["study"]["name"], plan["budget"], dict.fromkeys(_older_files(home), ""))
    if mark is None:
        raise FilaError(
            f"{shown} exists and holds no published results ({MANIFEST} is missing or another's), so it is not replaced; "
            f"choose another, e.g. {example}, or move it away"
        )
    if mark.study != study:
        raise FilaError(f"{shown} holds the published results of study {mark.study!r}, not {study!r}; choose another, e.g. {example}")
    return mark.files | {MANIFEST: ""}


def _of_a_run(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in OF_A_RUN)


def _fill(fresh: Path, source: Path, plan: dict[str, Any]) -> None:
    """Write what is published of SOURCE, its report apart; what lies behind a link is left out, and said."""
    compact = is_compact(source)
    patterns = (*KEPT, *(TABLES if compact else (f"cells/*/{name}" for name in OF_A_CELL)))
    found = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    links = [path.relative_to(source) for path in found if _through_link(path, source)]
    if links:
        listed = ", ".join(map(str, links[:3])) + (f" and {len(links) - 3} more" if len(links) > 3 else "")
        log.warning("%s: %s lie behind symbolic links and are left out; put the files themselves there", source, listed)
    if (source / "plan.json").is_symlink():
        raise FilaError(f"FOLDER={source}: plan.json is a symbolic link, and links are not followed; put the file itself there")
    for path in found:
        name = path.relative_to(source)
        if name not in links and name.parts[0] != "cells":
            (fresh / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, fresh / name)
    if not compact:
        left_out = {name.parts[1] for name in links if name.parts[0] == "cells"}
        write_compact(fresh, plan["cells"], open_cells(source), left_out)


def _declare(path: Path, study: StudyConfig) -> None:
    """Have a plan say what the study's file declares now, and what it declared when the first cell ran.

    Raises:
        FilaError: the file is another study's, or plans other cells.
    """
    content = read_json(path)
    ran = StudyConfig.model_validate(present_plan(content)["study"])
    judged, unrun = judged_by(ran, study, content["budget"])
    if unrun:
        raise FilaError(
            f"--by: the cells were not run with its {', '.join(unrun)}; give a file that changes question, metric, margin or families alone"
        )
    content["declared"] = content.get("declared") or declaration(ran, content["budget"])
    content |= {"study": judged.model_dump(mode="json"), "study_hash": study_hash(judged)}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _through_link(path: Path, source: Path) -> bool:
    return any(step.is_symlink() for step in (path, *path.parents[: len(path.relative_to(source).parts) - 1]))


def _refuse_damaged(source: Path) -> None:
    """Refuse published results that are no longer what was published: what follows from them would carry a fresh mark."""
    if changed := altered(source):
        raise FilaError(f"FOLDER={source}: {_listed(changed)} changed since it was published; restore the published files first")


def _refuse_changed(home: Path, before: dict[str, str], mark: Mark, shown: str) -> None:
    """Refuse to write over, or to drop, what somebody has put there or changed since it was published."""
    present = entries(home) if before else ()
    changed = [name for name in present if _changed(home / name, before.get(name), mark.files.get(name), name == MANIFEST)]
    if changed:
        stand = "stands" if len(changed) == 1 else "stand"
        raise FilaError(
            f"{shown}: {_listed(changed)} changed since it was published, or {stand} where new results would; move that away, or "
            "choose another folder; nothing was replaced"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _changed(path: Path, published: str | None, fresh: str | None, is_mark: bool) -> bool:
    """Whether a replacement would lose these bytes: they are neither as published nor what is written now."""
    if is_mark or published == "" or (published is None and fresh is None):
        return False
    if path.is_symlink() or not path.is_file():
        return True
    return file_sha256(path) not in (published, fresh)
