"""Measuring many cases, one after the other or interleaved, with everything measured kept in one file: the same call goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from torch import nn

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.counts import llm_tokens
from fila_lab.config.files import write_atomically
from fila_lab.config.geometry import Size
from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import present_run
from fila_lab.config.run import RunConfig
from fila_lab.config.tiling import seen_canvases
from fila_lab.cost.closed.components import component_costs, feature_bytes
from fila_lab.cost.closed.memory import widest_bytes
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.cost.count import Count, count_language, count_vision
from fila_lab.cost.fresh import measured_afresh
from fila_lab.cost.latency import interleaved
from fila_lab.cost.passes import Seconds, language_pass, matmul_pass, see_seconds
from fila_lab.cost.setting import Setting
from fila_lab.cost.subject import build_language_subject, build_vision, synthetic_batch

STATE = "measurements.json"
MATMUL = "matmul"
MEASURING = ("fresh", "latency", "memory", "passes", "probe", "setting", "subject")
"""Modules of this room whose source decides what a figure means."""
Report = Callable[[str], None]


@dataclass
class Case:
    """One arm at one size: its counts, its rounds (component -> seconds an image), its peaks (component -> MiB) or why there are none."""

    arm: str
    config: RunConfig
    counts: dict[str, Count] = field(default_factory=dict)
    rounds: list[Seconds] = field(default_factory=list)
    memory: dict[str, float] | str | None = None
    reason: str | None = None

    @property
    def canvas(self) -> Size:
        return seen_canvases(self.config)[0]

    @property
    def name(self) -> str:
        return f"{self.arm} {self.canvas[0]}x{self.canvas[1]} k={self.config.geometry.cells_a_side}"


@dataclass
class Language:
    """The language model at one number of tokens: measured with `layers` of its layers."""

    config: RunConfig
    layers: int
    counts: dict[str, Count] = field(default_factory=dict)
    rounds: list[Seconds] = field(default_factory=list)
    memory: dict[str, float] | str | None = None
    reason: str | None = None


@dataclass
class Measured:
    """All that was measured in one setting."""

    setting: Setting
    cases: dict[str, Case] = field(default_factory=dict)
    languages: dict[str, Language] = field(default_factory=dict)
    matmul: list[float] = field(default_factory=list)


def measure(
    runs: Mapping[tuple[str, Size, int], RunConfig], setting: Setting, out: Path, *, rounds: int, memory: bool, report: Report = print
) -> None:
    """Count and measure what DIR lacks of these runs in this setting: peaks in fresh processes, latency until each has `rounds` rounds.

    Every round and every peak is written as soon as it is there. Raises FilaError where DIR holds figures of other code, and ConfigError
    where no case fits in memory.
    """
    state = open_state(out)
    here = state.setdefault(str(setting), Measured(setting))
    wanted, languages = _enter(here, runs)
    for case in wanted:
        if not case.counts:
            report(f"counting {case.name}")
            case.counts = count_vision(case.config)
    for name, language in languages.items():
        if not language.counts:
            report(f"counting language model, {name}")
            language.counts = count_language(language.config)
    write_state(out, state)
    if memory:
        for case in wanted:
            if case.memory is None and case.reason is None:
                report(f"peak memory: {case.name}")
                case.memory = measured_afresh("seeing", {"it": case.config})["it"]
                write_state(out, state)
        for name, language in languages.items():
            if language.memory is None and language.reason is None:
                report(f"peak memory: language model, {name}")
                language.memory = measured_afresh("reading", {"it": language.config})["it"]
                write_state(out, state)
    _latency(here, [case for case in wanted if not case.reason], languages, rounds, report, lambda: write_state(out, state))
    write_state(out, state)


def _enter(here: Measured, runs: Mapping[tuple[str, Size, int], RunConfig]) -> tuple[list[Case], dict[str, Language]]:
    """The cases and language models of these runs, new or found; with a reason where memory is short."""
    cases, languages = [], {}
    free = psutil.virtual_memory().available
    for (arm, _, _), given in runs.items():
        config = here.setting.applied(given)
        case = Case(arm, config)
        case = here.cases.setdefault(case.name, case)
        needed = seeing_bytes(config)
        case.reason = None if needed <= free else _short_of_memory(needed, free)
        cases.append(case)
        name = language_name(config)
        if name not in here.languages:
            whole = 4 * component_costs(config, case.canvas)["language"].parameters
            layers = config.language.layers if whole < free / 3 else 1
            here.languages[name] = Language(config, layers)
        languages[name] = here.languages[name]
    if all(case.reason for case in cases):
        raise ConfigError(f"{cases[0].name}: {cases[0].reason}")
    return cases, languages


def _latency(
    here: Measured, cases: list[Case], languages: dict[str, Language], rounds: int, report: Report, save: Callable[[], None]
) -> None:
    short = [case for case in cases if len(case.rounds) < rounds]
    reading = {name: language for name, language in languages.items() if len(language.rounds) < rounds and not language.reason}
    if not short and not reading:
        return
    shared: dict[Hashable, nn.Module] = {}
    passes: dict[str, Callable[[], Seconds]] = {}
    for case in short:
        report(f"building {case.name}")
        model, batch = build_vision(case.config, shared), synthetic_batch(case.config, 1, device=here.setting.device)
        passes[case.name] = lambda model=model, batch=batch, config=case.config: see_seconds(model, batch, config)  # type: ignore[misc]
    for name, language in reading.items():
        passes[name] = language_pass(build_language_subject(language.config, language.layers), language.config)
    unfinished: list[Case | Language] = [*short, *reading.values()]
    passes[MATMUL] = matmul_pass(unfinished[0].config)
    done = min(len(each.rounds) for each in unfinished)
    with here.setting.threaded():
        for turn, taken in enumerate(interleaved(passes, rounds - done, first=done), start=done + 1):
            for case in short:
                case.rounds.append(taken[case.name])
            for name, language in reading.items():
                language.rounds.append(taken[name])
            here.matmul.append(taken[MATMUL]["flops_per_second"])
            save()
            report(f"round {turn} of {rounds}: {sum(sum(taken[name].values()) for name in passes if name != MATMUL):.1f} s")


def language_name(config: RunConfig) -> str:
    """What makes two runs' language models cost the same."""
    language = config.language
    tokens = llm_tokens(seen_canvases(config)[0], config) + text_tokens(config.language)
    return f"{language.architecture} of {language.layers} layers and width {language.width}, {tokens} tokens"


def seeing_bytes(config: RunConfig) -> float:
    """About what the encoder of one image takes: its weights, the widest of the ConvNeXt, the detail maps in two types."""
    costs = component_costs(config, seen_canvases(config)[0])
    weights = 4 * sum(costs[name].parameters for name in ("vit", "convnext", "fusion", "projector"))
    return weights + widest_bytes(config, seen_canvases(config)[0]) + feature_bytes(config, 6)


def _short_of_memory(needed: float, free: float) -> str:
    return f"needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; choose smaller --sizes or a lower --detail"


def measuring_code() -> str:
    """16 hex digits over the source of what is measured and of what measures."""
    room = Path(__file__).parent
    files = [*sorted((room.parent / "modeling").rglob("*.py")), *(room / f"{name}.py" for name in MEASURING)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def open_state(out: Path) -> dict[str, Measured]:
    """What DIR holds, setting by setting; empty where it holds nothing yet."""
    path = out / STATE
    if not path.exists():
        return {}
    try:
        content = read_json(path)
        code, settings = content["code"], {name: _read(part) for name, part in content["settings"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise FilaError(f"--out: {path} cannot be read ({error}); choose another folder") from error
    if code != measuring_code():
        raise FilaError(f"--out: {path} holds figures of other code ({code}; this is {measuring_code()}); choose another folder")
    return settings


def write_state(out: Path, state: Mapping[str, Measured]) -> None:
    """Replace the file."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"code": measuring_code(), "settings": {name: _dump(part) for name, part in state.items()}}
    write_atomically(out / STATE, (json.dumps(content, indent=1) + "\n").encode())


def _dump(measured: Measured) -> dict[str, Any]:
    def entries(parts: Mapping[str, Case] | Mapping[str, Language]) -> dict[str, Any]:
        return {
            name: {
                **vars(part),
                "config": part.config.model_dump(mode="json"),
                "counts": {component: vars(count) for component, count in part.counts.items()},
            }
            for name, part in parts.items()
        }

    return {
        "setting": vars(measured.setting),
        "cases": entries(measured.cases),
        "languages": entries(measured.languages),
        "matmul": measured.matmul,
    }


def _read(part: dict[str, Any]) -> Measured:
    def entries(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
        return {
            name: kind(
                **{
                    **fields,
                    "config": RunConfig.model_validate(present_run(fields["config"])),
                    "counts": {component: Count(**count) for component, count in fields["counts"].items()},
                }
            )
            for name, fields in parts.items()
        }

    return Measured(Setting(**part["setting"]), entries(Case, part["cases"]), entries(Language, part["languages"]), part["matmul"])
