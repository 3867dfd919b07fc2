"""A run may begin with cells that another result folder holds, published or not: a published study gets more seeds or arms, a run moves."""

from __future__ import annotations

import logging
from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.studies.folder import read_plan
from fila_lab.studies.plan import Plan
from fila_lab.studies.store import Invalid, ResultStore

log = logging.getLogger("fila_lab")


def take_over(source: Path, plan: Plan, store: ResultStore, code: str, allow_mixed: bool) -> int:
    """Copy what SOURCE holds and `store` does not: cells of the plan, and of the same study's searches too; returns how many.

    Source is only read. A cell is known by its id, which hashes all that can change its result, so only the code may differ.

    Raises:
        FilaError: SOURCE is no result folder, is that of the store, or holds wanted cells of other code, without `allow_mixed`.
        MachineError: a cell cannot be written; those copied before it stay.
    """
    held = read_plan(source)
    if held is None:
        raise FilaError(
            f"--from {source}: no readable plan.json in it, so it is no result folder; give the --out of a run, or what was published"
        )
    if source.resolve() == store.root.resolve():
        raise FilaError(f"--from {source} is the folder that this run writes to; leave --from out, or choose another --out")
    there, planned = ResultStore(source), {cell.id for cell in plan.cells}
    done = store.done_ids()
    same = held["study"]["name"] == plan.study.name
    searched = {str(cell["id"]) for cell in held["cells"] if cell["phase"] != "main"} if same else set()
    # The main cells of a tuned study have ids that its winners make, which are known when its searches are.
    wanted = set(there.ids()) if searched else planned.intersection(there.ids())
    found = {cell: result for cell in sorted(wanted - done) if not isinstance(result := there.read(cell), Invalid) and result is not None}
    others = sorted({str(there.manifest(cell).get("code_hash", "unknown")) for cell in found} - {code})
    if others and not allow_mixed:
        raise FilaError(
            f"--from {source}: its cells were made by other code ({', '.join(others)}; this is {code}), and a comparison of mixed code "
            "compares code; leave --from out, or accept it with --allow-mixed (each cell's manifest tells its code)"
        )
    for cell, result in found.items():
        store.write(cell, result.dump(), there.predictions(cell), there.manifest(cell))
    log.info("%d cells are taken over from %s", len(found), source)
    return len(found)
