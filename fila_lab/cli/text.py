"""Plain-text tables and units: rich would cost `plan` its half second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fila_lab.cli.pairs import pair_lines
from fila_lab.config.texts import one_line, width

if TYPE_CHECKING:
    from fila_lab.config import RunConfig, Sweep
    from fila_lab.studies.detectable import Detectable
    from fila_lab.studies.estimate import Estimate
    from fila_lab.studies.plan import Plan
    from fila_lab.studies.status import StudyStatus

UNKNOWN = "unknown"
"""Shown for what a strategy of another package costs: no closed form counts it."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns: the first ones to the left, the rest to the right."""
    shown = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in shown) for i in range(len(header))]
    lines = []
    for row in shown:
        blanks = [" " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)]
        cells = [cell + blank if i < left else blank + cell for i, (cell, blank) in enumerate(zip(row, blanks, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def number(count: float) -> str:
    """`812`, `45.3 k`, `6.1 M`, `382 G`."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f}"


def seeds_text(seeds: Sequence[int]) -> str:
    """`0-7` for a run of seeds, else `0, 2, 5`."""
    ordered = list(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}-{ordered[-1]}"
    return ", ".join(map(str, ordered))


def plan_text(plan: Plan, made: Estimate, out: Path) -> str:
    """What `fila-lab plan` prints."""
    from fila_lab.config import Sweep
    from fila_lab.config.strategies import known_cost
    from fila_lab.cost.closed.pages import page_costs
    from fila_lab.studies.estimate import CPU_RATE, GPU_RATE
    from fila_lab.studies.rows import row_flops

    study = plan.study
    rows = []
    for arm in made.arms:
        config = next(cell.config for cell in plan.cells if cell.arm == arm.arm)
        costs = page_costs(config).values()
        parameters, of_rows = sum(cost.parameters for cost in costs), row_flops(config)
        flops = sum(cost.flops for cost in costs) if of_rows is None else of_rows
        rows.append(
            (
                arm.arm,
                study.arms[arm.arm].role,
                seeds_text([cell.seed for cell in plan.cells if cell.arm == arm.arm]),
                str(arm.done),
                str(arm.failed),
                str(arm.left),
                duration(arm.seconds) + ("" if arm.measured else " ~"),
                _steps(config),
                number(flops) if known_cost(config.fusion) else UNKNOWN,
                number(parameters) if known_cost(config.fusion) else UNKNOWN,
            )
        )
    done, failed, left = (sum(getattr(arm, name) for arm in made.arms) for name in ("done", "failed", "left"))
    gpu = plan.cells[0].config.runtime.accelerator == "gpu"
    assumed = f"{number(GPU_RATE)}FLOP/s a GPU" if gpu else f"{number(CPU_RATE)}FLOP/s a CPU thread"
    basis = "from cells timed in this folder" if made.measured else f"~ assumes {assumed} until cells are timed here"
    again = "; --retry-failed runs failures again" if failed else ""
    uncounted = [arm for arm in plan.arms if not known_cost(next(cell.config for cell in plan.cells if cell.arm == arm).fusion)]
    lines = [
        f"{study.name}, budget {plan.budget}: {study.question}",
        f"preset {study.preset}, metric {study.metric}, margin {study.margin:g}, equal {study.equalise}, study hash {plan.study_hash}",
        "",
        table(("arm", "role", "seeds", "done", "failed", "to do", "a cell", "steps", "FLOPs", "parameters"), rows),
        "",
        *_solved(plan),
        f"cells     {len(plan.cells)}: {done} done, {failed} failed, {left} to do{again}",
        *pair_lines(plan),
    ]
    if isinstance(plan.search, Sweep):
        lines += _sweep(plan, plan.search, made)
    elif plan.search is not None:
        found = plan.tuning_cells - made.search_left
        seeds = len(plan.search.seeds)
        each = f"{len(plan.arms)} arms x {plan.trials}" + (f" x {seeds} seeds" if seeds > 1 else "")
        what = "trials" if seeds == 1 else "cells"
        lines.append(f"tuning    {plan.tuning_cells} {what} ({each}): {found} done, {made.search_left} to do")
    elif study.tuning is not None:
        missing = [arm for arm in plan.arms if arm not in study.winners]
        settings = f"no committed winners for {', '.join(missing)}" if missing else "every arm has committed winners"
        lines.append(f"tuning    none in this budget; {settings}")
    files = [cell.config for cell in plan.cells if not cell.config.data.generated]
    drawn = f"of it {duration(made.seconds_features)} to draw pages and compute features; " if made.cache_bytes else ""
    reading = "reading files, by data.workers processes a cell, and " if files and not made.measured else ""
    cache = f"about {size(made.cache_bytes)} of items and frozen ConvNeXt features, computed once for all arms and seeds"
    if not made.cache_bytes:
        cache = "next to nothing: files are read, and features computed, whenever a batch asks for them"
    lines += [
        *_rows(plan),
        *(f"stages    {one_line(each.name)} is trained {_times(each.times)} for {each.cells} cells" for each in made.shared),
        f"time      about {duration(made.seconds_left)} with {made.workers} workers ({basis}), {drawn}{reading}measuring costs "
        f"{'come' if reading else 'comes'} on top",
        f"memory    about {size(made.memory_bytes)} for {made.workers} workers (estimated: weights, optimiser, activations, processes)",
        *(_held(plan) if gpu else ()),
        *_devices(plan),
        *([_uncounted(uncounted)] if uncounted else []),
        f"cache     {cache}",
        _effect(plan),
        *(_family(name, family, len(plan.seeds)) for name, family in made.detectable.items()),
    ]
    if study.factors:
        lines.append(_crossing(plan))
    lines += _phase(plan)
    dropped = sum(len(family.comparisons) for family in study.families.values()) - sum(len(pairs) for pairs in plan.families.values())
    if dropped:
        lines.append(f"          {dropped} contrasts of the study have an arm that this budget leaves out")
    return "\n".join([*lines, f"results   {out}"])


def _effect(plan: Plan) -> str:
    """What the lines with each family's smallest effect say, or why there are none."""
    from fila_lab.config.power import ALPHA, POWER

    if any(plan.families.values()):
        return f"effect    the smallest paired difference found with power {POWER:g} by the exact sign-flip test at {ALPHA:g} / contrasts"
    why = "no contrast of the study has all its arms in this budget" if plan.study.families else "the study declares no contrasts"
    return f"effect    none to find: {why} (families), so no two arms are compared"


def _devices(plan: Plan) -> list[str]:
    """Of cells on several devices, what each device holds by the run's strategy and by the others, for the arm that takes most; and how
    large a checkpoint is."""
    from fila_lab.cost.closed.memory import checkpoint_bytes, memory_bytes, sharing_strategies

    runs = [next(cell.config for cell in plan.cells if cell.arm == arm) for arm in plan.arms]
    shared = [run for run in runs if run.runtime.shares != "nothing"]
    if not shared:
        return []
    run = max(shared, key=memory_bytes)
    by = {name: sum(part.total for part in parts.values()) for name, parts in sharing_strategies(run, run.runtime.world).items()}
    own = by.pop(run.runtime.shares, None)
    others = ", ".join(f"{size(total)} by {name}" for name, total in by.items())
    each = f"on each of {run.runtime.world} devices about {size(own)} by {run.runtime.shares} ({others})" if own is not None else ""
    return [f"          {each}{'; ' if each else ''}a checkpoint about {size(checkpoint_bytes(run))}"]


def _sweep(plan: Plan, sweep: Sweep, made: Estimate) -> list[str]:
    """The search before the main cells: what it searches, by what, and what of it is left."""
    from fila_lab.config.space import values_of
    from fila_lab.config.space_points import space_size

    size = space_size(sweep.dimensions)
    ways = "any number of combinations" if size == math.inf else f"{size:,.0f} combinations"
    fields = []
    for path, one in sweep.dimensions.items():
        values = values_of(path, one)
        fields.append(f"{path} ({'any number' if values is None else len(values)}{', under a condition' if one.condition else ''})")
    goals = ", ".join(f"{goal.name} ({goal.direction})" for goal in sweep.goals)
    pruner = f", pruner {sweep.pruner.name}" if sweep.pruned else ""
    cells = f"at most {plan.sweep_cells} cells" if sweep.runs_cells else "no cells: costs alone are asked for"
    done = "not ended" if plan.provisional else "ended"
    to_do = f", {made.search_left} to do" if plan.provisional and sweep.runs_cells else ""
    lines = [
        f"sweep     {plan.trials} trials of {ways}: {', '.join(fields)}",
        f"          for {goals}; sampler {sweep.sampler_name}{pruner}, {sweep.batch} trials at a time, seeds {seeds_text(sweep.seeds)}",
        f"          {cells}{to_do}; {done}",
    ]
    if any(goal.measured for goal in sweep.goals):
        measured = " and ".join(goal.name for goal in sweep.goals if goal.measured)
        lines.append(f"          {measured} measured between batches, each configuration once")
    if sweep.confirm is not None:
        seeds = seeds_text(sweep.confirm.of(plan.study.budgets[plan.budget].seeds))
        becomes = (
            ("its front becomes arms", "its front is among the arms")
            if len(sweep.goals) > 1
            else ("its best trial becomes an arm", "its best trial is an arm")
        )
        lines.append(f"          {becomes[not plan.provisional]}, run on seeds {seeds}")
    return lines


def _rows(plan: Plan) -> list[str]:
    """Of arms on files, how many rows there are, and how often training passes over them; once for all arms that see the same."""
    from fila_lab.config.stage_runs import stages_of
    from fila_lab.studies.rows import Part, parts_of, planned_steps, taken_rows

    def told(parts: Sequence[Part]) -> str:
        return " and ".join(f"{number(part.rows)} of {part.suite}" for part in parts)

    lines: dict[str, str] = {}
    for arm in plan.arms:
        run = next(cell.config for cell in plan.cells if cell.arm == arm)
        if all(stage.run.data.generated for stage in stages_of(run)):
            continue
        validate, tests = (parts_of(run, split) for split in ("val", "test"))
        named = ", ".join(f"{name} {number(part.rows)}" for name, part in zip(run.data.evaluate, tests, strict=True))
        trained, passes = [], []
        for stage in stages_of(run):
            taken, steps, batch = taken_rows(stage.run), planned_steps(stage), stage.run.train.batch_size * stage.run.train.accumulate
            of = f"{stage.name}: " if stage.name else ""
            trained.append(f"{of}{told(parts_of(stage.run, 'train'))}")
            passes.append(f"{of}{steps} steps of {batch} pass {steps * batch / taken:.2g} times over {number(taken)} training rows")
        lines.setdefault(f"train {', '.join(trained)}; validate {told(validate)}; test {named}; {', '.join(passes)}", arm)
    head = len(lines) > 1
    return [f"rows      {f'{one_line(arm)}: ' if head else ''}{line}" for line, arm in lines.items()]


def _held(plan: Plan) -> list[str]:
    """Of cells on GPUs of a size that is not known here: with which settings the largest would fit in a usual one."""
    from fila_lab.cost.closed.fitting import USUAL, advice
    from fila_lab.cost.closed.memory import memory_bytes

    largest = max((cell.config for cell in plan.cells), key=memory_bytes)
    held = advice(largest, USUAL, spread=True)
    each = f"          {size(memory_bytes(largest))} of each GPU; "
    return [each + (f"one of {size(USUAL)} holds the same steps with {held}" if held else f"one of {size(USUAL)} holds it")]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _steps(config: RunConfig) -> str:
    """`500`; of training stages `30 + 500`, with a mark where rows decide."""
    from fila_lab.config.stage_runs import stages_of
    from fila_lab.studies.rows import planned_steps

    return " + ".join(f"{planned_steps(stage)}{'' if stage.epochs is None else ' ~'}" for stage in stages_of(config))


def _uncounted(arms: Sequence[str]) -> str:
    """Whose fusions no closed form counts, and what the estimates take them for."""
    named = ", ".join(map(one_line, arms))
    return f"          fusions of other packages ({named}) are guessed at as concat in memory, and in time until they are timed"


def _family(name: str, family: Detectable, seeds: int) -> str:
    """What a family's seeds can show, and at which noise."""
    head = f"family    {name}: {family.contrasts} contrast{'s need' if family.contrasts > 1 else ' needs'} {family.needed} seeds; "
    if family.effect is None:
        return head + f"{seeds} cannot be tested: estimates and intervals only"
    return head + f"{seeds} find {family.effect:.3f} (sd over seeds {family.sd:.3g}, {'measured here' if family.measured else 'assumed'})"


def _crossing(plan: Plan) -> str:
    """The factors, and whether the seeds can show their effects."""
    from fila_lab.config.power import seeds_needed

    levels: dict[str, dict[str, None]] = {}
    for arm in plan.arms:
        for factor, level in plan.study.factors.get(arm, {}).items():
            levels.setdefault(factor, {})[level] = None
    crossed = [factor for factor, own in levels.items() if len(own) > 1]
    effects = len(crossed) * (len(crossed) + 1) // 2
    needed = seeds_needed(effects) if effects else 0
    verdict = "enough" if len(plan.seeds) >= needed else f"{len(plan.seeds)} cannot be tested: estimates and intervals only"
    shown = " x ".join(f"{factor} ({len(levels[factor])})" for factor in crossed) or "none in this budget"
    return f"crossed   {shown}: {effects} effects need {needed} seeds; {verdict}"


def _phase(plan: Plan) -> list[str]:
    """Arms whose seam gaps will not be of seams alone."""
    from fila_lab.config.stride_phase import phase_note

    note = phase_note({arm: next(cell.config for cell in plan.cells if cell.arm == arm) for arm in plan.arms})
    return [f"phase     {one_line(note)}"] if note else []


def _solved(plan: Plan) -> list[str]:
    """A line for each matched arm: what was solved, for what, and how near it came; and what equal time was resolved with."""
    lines = []
    for arm, found in plan.matches.items():
        what = "FLOPs" if found.quantity == "flops" else found.quantity
        lines.append(
            f"matched   {arm}: {found.path} = {found.value} for the {what} of {found.target}: {found.reached:,.0f} of {found.wanted:,.0f}, "
            f"{found.off_whole:+.2%} of the whole model, {found.off_part:+.2%} of the part solved for"
        )
    if plan.study.equalise == "time":
        seconds = ", ".join(f"{arm} {plan.step_seconds[arm]:.3g}" for arm in plan.arms if arm in plan.step_seconds)
        lines.append(f"equal     time, at these seconds a step: {seconds}")
    return lines


def status_text(state: StudyStatus, out: Path) -> str:
    """What `fila-lab status` prints."""
    from fila_lab.studies.outlook import title_of

    counts = ("done", "failed", *(("pruned",) if any(row.pruned for row in state.rows) else ()), "left")
    rows = [
        (
            title_of(row.arm, row.phase),
            row.phase,
            *(str(getattr(row, name)) for name in counts),
            "" if row.mean is None else f"{row.mean:.4f}",
        )
        for row in state.rows
    ]
    lines = [f"{state.name}, budget {state.budget}, in {out}", ""]
    lines += [table(("arm", "phase", *counts[:-1], "to do", f"mean {state.metric}"), rows), ""]
    lines += [f"failed    {arm}, seed {seed}: {kind}: {message}" for arm, seed, kind, message in state.failures]
    lines += [f"invalid   {found.path}: {found.reason}; the next run moves it aside and repeats the cell" for found in state.invalid]
    lines += [f"aside     {path}" for path in state.moved_aside]
    if len(state.code_hashes) > 1:
        lines.append(f"code      results of different code: {', '.join(state.code_hashes)}")
    if state.altered:
        remedy = "take them from where they were published, or publish the run again"
        lines.append(f"altered   {', '.join(state.altered)}: not as published; {remedy}")
    lines += [f"at work   {driver}" for driver in state.drivers]
    if state.left:
        lines.append(f"to do     {state.left} cells known; the same `fila-lab run` goes on")
    else:
        lines.append("complete  " + ("with costs" if state.costs else "costs are not measured yet; the same `fila-lab run` measures them"))
    return "\n".join(lines)
