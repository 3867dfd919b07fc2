"""The first training stages of several cells, trained once for all of them: a job of its own, whose end lies in the cache."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config import RunConfig
from fila_lab.config.faults import cannot_write
from fila_lab.config.stage_runs import stage_mark, stages_of
from fila_lab.data.sealed import alone
from fila_lab.training.cache_room import evict
from fila_lab.training.cell import CellOutcome, run_cell
from fila_lab.training.fit import STAGES, Ends
from fila_lab.training.record import Progress
from fila_lab.training.stage_ends import END, copy_end, read_end


def train_shared(
    config: RunConfig, *, workdir: Path, cache_dir: Path, number: int, final: Path, progress: Progress | None = None, ends: Ends = ()
) -> CellOutcome:
    """Train a run's stages up to `number`, unless their end lies in `final` already; who asks for the same end meanwhile waits.

    Args:
        config: one of the cells that share them.
        final: where the end goes, in the cache.
        ends: of the stages before, as `run_cell` takes them.

    Returns:
        The outcome; where it failed, nothing is written, and every cell will find out for itself.

    Raises:
        MachineError: as `run_cell`, or the cache cannot be written.
    """
    stage = stages_of(config)[number]
    mark = stage_mark(config, stage)
    with alone(final):
        if read_end(final, mark) is not None:
            return CellOutcome({"status": "done", "failure": None})
        outcome = run_cell(config, workdir=workdir, cache_dir=cache_dir, progress=progress, ends=ends, last=number)
        if outcome.result["failure"] is None:
            source = workdir / STAGES / stage.name / END
            try:
                evict(cache_dir, sum(path.stat().st_size for path in source.iterdir()))
                copy_end(source, final, mark)
            except OSError as error:
                what = f"cache_dir={cache_dir}: the end of a training stage"
                raise cannot_write(error, what, "set FILA_LAB_CACHE to another folder") from error
    return outcome
