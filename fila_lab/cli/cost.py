"""The verb `cost`: what arms cost, in closed form at once, or measured on their real classes with random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.options import BudgetName, Sets, open_study
from fila_lab.config.base import ConfigError, did_you_mean

if TYPE_CHECKING:
    from fila_lab.config import RunConfig
    from fila_lab.config.geometry import Size


def cost(
    study: Annotated[str | None, typer.Argument(metavar="STUDY.yaml", help="Its arms; else one preset.", show_default=False)] = None,
    budget: BudgetName = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", metavar="NAME", help="Default: the study's, or mini.", show_default=False)
    ] = None,
    sets: Sets = None,
    arms: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these arms of the study, or fusions by name; commas.", show_default=False)
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="WxH,...", help="Canvases. Default: closed form, their mean; measured, the largest.", show_default=False),
    ] = None,
    detail: Annotated[
        str | None, typer.Option(metavar="K,...", help="Detail resolutions: 16,24,32 are 512, 768, 1024 px a tile.", show_default=False)
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Memory of each of so many devices, by strategy, closed form.", show_default=False)
    ] = None,
    device_memory: Annotated[float, typer.Option("--device-memory", min=1, metavar="GIB", help="With --devices: what each has.")] = 80.0,
    measure: Annotated[bool, typer.Option("--measure", help="Measure latency and peak memory; needs --out.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where table, figures and manifest go.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to measure.")] = "cpu",
    precision: Annotated[
        str | None, typer.Option(metavar="fp32|bf16|fp16", help="Of the products. Default: the preset's.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: the preset's.", show_default=False)] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Interleaved rounds each case is to have.")] = 5,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Leave out peak memory.")] = False,
) -> None:
    """Parameters, FLOPs, latency and memory, part by part, of one image. Closed form by default, at once. With --measure: the real classes
    with random weights, so nothing is downloaded; the same line, given again, adds what is missing; another precision or size adds to DIR.

    \b
    fila-lab cost fusion_methods
    fila-lab cost --preset paper --set fusion.name=cross_attention
    fila-lab cost --preset paper --devices 8
    fila-lab cost --preset paper --arms none,concat --sizes 336x672,672x672 --detail 16,24,32
    fila-lab cost fusion_methods --preset paper --measure --threads 2 --out runs/costs_paper
    """
    from fila_lab.config import parse_set
    from fila_lab.config.sizes import parse_details, parse_sizes, sized_runs

    runs = _arms(study, budget, preset, parse_set(sets or []), arms)
    canvases, cells = parse_sizes(sizes) if sizes else None, parse_details(detail) if detail else None
    if not measure:
        if out is not None:
            raise ConfigError(f"--out {out} is where measured costs go; add --measure, or leave it out")
        sized = runs if not (canvases or cells) else sized_runs(runs, canvases, cells)
        typer.echo(_closed_form(sized))
        if devices is not None:
            typer.echo(f"\n{_memory(sized, devices, device_memory)}")
        return
    if devices is not None:
        raise ConfigError(f"--devices {devices} is a closed form's; leave --measure out, or --devices")
    if out is None:
        raise ConfigError("--measure needs --out DIR, where it keeps every round; give e.g. --out runs/costs")

    from fila_lab.cli.cost_report import measure_and_write
    from fila_lab.cost.setting import Setting

    runtime = next(iter(runs.values())).runtime
    setting = Setting(device, precision or runtime.precision, runtime.threads if threads is None else threads)
    command = " ".join(["fila-lab", *sys.argv[1:]])
    measure_and_write(sized_runs(runs, canvases, cells), setting, out, rounds=rounds, memory=not no_memory, command=command)


def _arms(
    study: str | None, budget: str | None, preset: str | None, overrides: dict[str, object], arms: str | None
) -> dict[str, RunConfig]:
    """Name -> run: a study's arms resolved on a preset, or fusions of a preset."""
    from fila_lab.config import known_fusions, resolve_run

    names = [name.strip() for name in arms.split(",")] if arms else None
    if study is None:
        base = preset or "mini"
        if names is None:
            return {base: resolve_run(base, overrides)}
        for name in names:
            if name not in known_fusions():
                raise ConfigError(f"--arms {name!r} is no fusion{did_you_mean(name, known_fusions())}; choose {', '.join(known_fusions())}")
        return {name: resolve_run(base, overrides, {"fusion.name": name}) for name in names}

    from fila_lab.studies.arms import get_budget, resolve_arm

    _, loaded, name, _ = open_study(study, budget, None)
    loaded = loaded.model_copy(update={"preset": preset or loaded.preset})
    chosen = get_budget(loaded, name)
    own = [arm for arm in loaded.arms if chosen.arms is None or arm in chosen.arms]
    runs = {}
    for arm in names or own:
        if arm in loaded.arms:
            runs[arm], _ = resolve_arm(loaded, name, arm, chosen.seeds[0], overrides)
        elif arm in known_fusions():
            runs[arm] = resolve_run(loaded.preset, loaded.set, chosen.set, {"fusion.name": arm}, overrides)
        else:
            known = [*loaded.arms, *known_fusions()]
            raise ConfigError(
                f"--arms {arm!r} is neither an arm of {loaded.name!r} nor a fusion{did_you_mean(arm, known)}; "
                f"its arms are {', '.join(loaded.arms)}"
            )
    return runs


def _closed_form(runs: dict[str, RunConfig] | dict[tuple[str, Size, int], RunConfig]) -> str:
    """A line a run: parameters / FLOPs of each part. Runs of several canvases show the mean over them."""
    from fila_lab.cli.text import UNKNOWN, number, table
    from fila_lab.config.counts import llm_tokens
    from fila_lab.config.seam_pages import page_size
    from fila_lab.config.strategies import known_cost
    from fila_lab.config.tiling import seen_canvas
    from fila_lab.cost.closed.components import COMPONENTS, component_costs, component_training_flops

    rows = []
    for key, config in runs.items():
        name = _named(key)
        costs, canvases = component_costs(config), config.geometry.canvases
        tokens = sum(llm_tokens(seen_canvas(config, canvas), config, page_size(config, canvas)) for canvas in canvases) / len(canvases)
        known = known_cost(config.fusion)
        parts = [
            f"{number(part.parameters)} / {number(part.flops)}" if known or room != "fusion" else UNKNOWN for room, part in costs.items()
        ]
        total = [sum(part.parameters for part in costs.values()), sum(part.flops for part in costs.values())]
        total.append(sum(component_training_flops(config).values()))
        rows.append((name, *parts, *(number(count) if known else UNKNOWN for count in total), f"{tokens:.0f}"))
    header = ("", *COMPONENTS, "parameters", "FLOPs", "training FLOPs", "tokens")
    return "parameters / FLOPs of one image in closed form; tokens: what the language model is handed\n\n" + table(header, rows)


def _memory(runs: dict[str, RunConfig] | dict[tuple[str, Size, int], RunConfig], devices: int, gib: float) -> str:
    """A line a run and strategy: GiB of each part on one device, weights with optimiser + activations; and what fits in `gib` of each."""
    from fila_lab.cli.text import size, table
    from fila_lab.cost.closed.components import COMPONENTS
    from fila_lab.cost.closed.fitting import advice
    from fila_lab.cost.closed.memory import checkpoint_bytes, shared_by, sharing_strategies

    rows, fits = [], []
    for key, config in runs.items():
        for strategy, parts in sharing_strategies(config, devices).items():
            each = [f"{part.state / 2**30:.2f} + {part.activations / 2**30:.2f}" for part in parts.values()]
            name = f"{_named(key)}  {'one device' if strategy == 'nothing' else strategy}"
            held = advice(shared_by(config, strategy, devices), gib * 2**30, spread=devices == 1)
            fits.append(f"{name}: {held or 'as it is'}")
            rows.append((name, *each, size(sum(part.total for part in parts.values())), size(checkpoint_bytes(config))))
    batches, asked = (sorted({getattr(run.train, name) for run in runs.values()}) for name in ("batch_size", "eval_batch_size"))
    told = (
        f"GiB on each of {devices} devices: weights and optimiser + activations of its share of a batch ({', '.join(map(str, batches))}),"
    )
    told += f" or the cache of a batch of questions ({', '.join(map(str, asked))}); the largest canvas"
    shown = table(("", *COMPONENTS, "a device", "a checkpoint"), rows)
    return "\n".join([f"{told}\n\n{shown}", "", f"in {gib:g} GiB of each device the same steps fit with", *fits])


def _named(key: str | tuple[str, Size, int]) -> str:
    return key if isinstance(key, str) else f"{key[0]}  {key[1][0]}x{key[1][1]}  k={key[2]}"
