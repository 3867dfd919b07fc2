"""`run`: bring a study's folder from whatever it holds to complete. The same command, given again, goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fila_lab.config import FilaError, load_study
from fila_lab.config.faults import machine_fault
from fila_lab.config.files import cache_limit, write_atomically
from fila_lab.config.loading import study_yaml
from fila_lab.studies.arms import budget_name
from fila_lab.studies.claim import check_free, tidy
from fila_lab.studies.folder import check_code, check_owner, default_out, set_damaged_plan_aside
from fila_lab.studies.identity import code_hash, suites_of
from fila_lab.studies.lock import Shard, StudyLock
from fila_lab.studies.machine import check_devices
from fila_lab.studies.options import Options
from fila_lab.studies.plan import Plan, make_plan
from fila_lab.studies.session import StudyRun
from fila_lab.studies.step_times import find_step_seconds
from fila_lab.studies.store import ResultStore
from fila_lab.studies.take_over import take_over


def run_study(
    study_path: Path | str,
    *,
    budget: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    engine: str = "process",
    workers: int | None = None,
    shard: str | Shard | None = None,
    tracking_uri: str | None = None,
    retry_failed: bool = False,
    cache_dir: Path | str | None = None,
    console: Console | None = None,
    **further: Any,
) -> Path:
    """Run what is missing of a study and return its folder.

    Args:
        study_path: the study file.
        budget: one of its budgets; None takes `small`, or the only one there is.
        overrides: dotted path -> value, for every arm.
        out: the folder; default `runs/<study>-<budget>`.
        engine: `inline`, `process` or `ray`.
        workers: cells at once; default the budget's.
        shard: `i/n`: this driver's share of the main cells, in a folder that n drivers share.
        tracking_uri: MLflow server; default SQLite in the folder.
        retry_failed: run failed cells again.
        cache_dir: default $FILA_LAB_CACHE, else `runs/cache`.
        console: where progress goes; default standard error.
        further: other fields of `Options`.

    Raises:
        FilaError: a mistake the user can mend; nothing computed is lost.
        MachineError: the machine failed; nothing is recorded for the cells it failed under, and the same call goes on after the mend.
        KeyboardInterrupt: after Ctrl-C, when the workers are gone and the remaining cells have been named.
    """
    study_path = Path(study_path)
    study = load_study(study_path)
    budget = budget_name(study, budget)
    root = Path(out) if out is not None else default_out(study, budget)
    plan = make_plan(study, budget, overrides, step_seconds=find_step_seconds(study, budget, root, overrides))
    options = Options(
        engine=engine,
        workers=workers,
        shard=Shard.parse(shard) if isinstance(shard, str) else shard,
        tracking_uri=tracking_uri,
        retry_failed=retry_failed,
        cache_dir=Path(cache_dir) if cache_dir is not None else None,
        **further,
    )
    return run_plan(plan, study_path, root, options, console)


def run_plan(plan: Plan, study_path: Path | None, root: Path, options: Options, console: Console | None = None) -> Path:
    """Run what is missing of a plan, which `make_plan` has made of the study file, in the folder `root`; returns it. Without a file the
    folder keeps the plan's study as a new one.

    Raises:
        FilaError, MachineError, KeyboardInterrupt: as `run_study`.
    """
    cache_limit()
    options.check(cell.config for cell in plan.cells)
    _check_mirror(options)
    if not options.elsewhere:
        check_devices(cell.config for cell in plan.cells)
    try:
        return _drive(study_yaml(plan.study) if study_path is None else study_path.read_bytes(), root, plan, options, console)
    except FilaError:
        raise
    except Exception as error:  # the driver's own files, and its databases, whose libraries have errors of their own
        fault = machine_fault(error)
        if fault is None:
            raise
        raise fault from error


def _check_mirror(options: Options) -> None:
    """Refuse a name, or a database, in which searches could not be shown.

    Raises:
        FilaError: what is wrong with it.
    """
    if options.sweep_key is not None:
        from fila_lab.studies.searches.trial_database import check_key

        check_key(options.sweep_key)
    if options.sweep_storage is not None:
        from fila_lab.studies.searches.trial_storage import check_storage

        check_storage(options.sweep_storage)


def _drive(study_file: bytes, root: Path, plan: Plan, options: Options, console: Console | None) -> Path:
    check_free(root, study_file)
    store = ResultStore(root).open()
    with StudyLock(root, options.shard):
        set_damaged_plan_aside(root)
        check_owner(root, plan)
        alone = options.shard is None
        tidy(root, alone)
        store.repair(alone)
        code = code_hash({suite for cell in plan.cells for suite in suites_of(cell.config)})
        check_code(store, code, options.allow_mixed)
        if options.source is not None:
            take_over(options.source, plan, store, code, options.allow_mixed)
        write_atomically(root / "study.yaml", study_file)
        return StudyRun(plan, store, options, code, console or Console(stderr=True)).run()
