"""Every key of a run, a study and a benchmark: what it means, what it takes, what it is where nothing is said; from the models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.benchmark import Benchmark
from fila_lab.config.fusion_options import OPTIONS
from fila_lab.config.key_types import choices_of, inner_model, type_words
from fila_lab.config.loading import preset_names
from fila_lab.config.prompts import TEMPLATES
from fila_lab.config.pruners import PRUNERS
from fila_lab.config.run import RunConfig
from fila_lab.config.samplers import SAMPLERS
from fila_lab.config.score_names import AGGREGATES, SCORES
from fila_lab.config.strategies import FUSIONS
from fila_lab.config.study import StudyConfig
from fila_lab.config.yaml_files import yaml_text

NAMED: dict[str, tuple[str, ...]] = {
    "fusion.name": FUSIONS,
    "language.template": tuple(TEMPLATES),
    "sweep.sampler": tuple(SAMPLERS),
    "tuning.sampler": tuple(SAMPLERS),
    "sweep.pruner": tuple(PRUNERS),
    "score": tuple(SCORES),
    "aggregate": tuple(AGGREGATES),
}
"""Keys whose texts are names that are known."""
OF_ITS_NAME: dict[str, tuple[str, Mapping[str, type[BaseModel]]]] = {
    "fusion.options": ("fusion.name", OPTIONS),
    "sweep.sampler": ("name", SAMPLERS),
    "tuning.sampler": ("name", SAMPLERS),
    "sweep.pruner": ("name", PRUNERS),
}
"""Key whose keys below depend on a name -> where the name stands, and name -> the model of these keys."""


class Key(NamedTuple):
    """One key.

    Attributes:
        path: dotted; NAME stands for a name of the user's.
        meaning: in words.
        type: what it takes, in words; "" for a section, which has keys below it.
        choices: the texts it takes, where they are known.
        default: as YAML in one line; None where it must be said.
        where: "" or the condition under which it is a key, e.g. `fusion.name: tile_summary`.
    """

    path: str
    meaning: str
    type: str
    choices: tuple[str, ...]
    default: str | None
    where: str = ""

    @property
    def takes(self) -> str:
        """Type and choices in one line; "" for a section."""
        return " | ".join(self.choices) if self.type == "text" and self.choices else self.type


def run_keys() -> tuple[Key, ...]:
    """The keys of a run: of presets, recipes, `--set`, and every `set` of a study. The name of its preset is none of them: it is chosen
    elsewhere."""
    return tuple(key for key in _keys(RunConfig, "") if key.path != "preset")


def study_keys() -> tuple[Key, ...]:
    """The keys of a study file."""
    return tuple(_keys(StudyConfig, ""))


def benchmark_keys() -> tuple[Key, ...]:
    """The keys of a YAML that describes a benchmark."""
    return tuple(_keys(Benchmark, ""))


def find_keys(path: str) -> tuple[Key, ...]:
    """The keys at and below a dotted path, of a run, of a study, of a benchmark; all of them for an empty path.

    Raises:
        ConfigError: no key of this path, with the nearest.
    """
    known = (*run_keys(), *study_keys(), *benchmark_keys())
    if not path:
        return known
    wanted = path.split(".")
    found = tuple(key for key in known if _begins(key.path.split("."), wanted))
    if not found:
        raise ConfigError(f"PATH = {path}: no such key{did_you_mean(path, [key.path for key in known])}; see `fila-lab keys`")
    return found


def _begins(parts: list[str], wanted: list[str]) -> bool:
    """Whether a key's path is `wanted` or below it; any name fits NAME."""
    return len(parts) >= len(wanted) and all(part in (word, "NAME") for part, word in zip(parts, wanted, strict=False))


def _keys(model: type[BaseModel], above: str, where: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        inner, named = inner_model(field.annotation)
        section = inner is not None and not named and field.description is None
        yield Key(
            path,
            meaning_of(field, inner),
            "" if section else type_words(field.annotation, field.metadata),
            NAMED.get(path, choices_of(field.annotation)) if path != "preset" else preset_names(),
            "" if section else _default(field),
            where,
        )
        if path in OF_ITS_NAME:
            chooser, models = OF_ITS_NAME[path]
            for choice, options in models.items():
                under = f"{path}.{chooser}" if chooser == "name" else chooser
                yield from (key for key in _keys(options, f"{path}.", f"{under}: {choice}") if not key.path.endswith(".name"))
        elif inner is not None:
            yield from _keys(inner, f"{path}.NAME." if named else f"{path}.", where)


def meaning_of(field: FieldInfo, inner: type[BaseModel] | None = None) -> str:
    """A field's description; of a section without one, the first sentence of its model's docstring."""
    if field.description is not None or inner is None:
        return field.description or ""
    return " ".join((inner.__doc__ or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _default(field: FieldInfo) -> str | None:
    return None if field.is_required() else as_yaml(field.get_default(call_default_factory=True))


def as_yaml(value: Any) -> str:
    """A value as a YAML file would have it, in one line."""
    written = yaml_text(_plain(value), default_flow_style=True, width=math.inf)
    return written.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, context={"whole": True})
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
