"""Presets and studies from YAML: inheritance (`extends`), overrides, validation."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.checks import check_run
from fila_lab.config.errors import config_error, mistakes
from fila_lab.config.overrides import apply_overrides, flat_overrides
from fila_lab.config.run import RunConfig
from fila_lab.config.shipped import shipped
from fila_lab.config.source_fields import Layer, with_source_fields
from fila_lab.config.tower_pairs import paired_layer
from fila_lab.config.yaml_files import read_yaml, yaml_text

if TYPE_CHECKING:
    from fila_lab.config.study import StudyConfig

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def load_preset(name: str) -> RunConfig:
    """The run a preset stands for: a shipped name (`mini`, `base`, `paper`) or the path of a YAML file."""
    return resolve_run(name)


def resolve_run(preset: str, *overrides: Mapping[str, Any]) -> RunConfig:
    """A preset with overrides laid over it, later ones last. Keys may be dotted paths; every mistake is a ConfigError. What weights that a
    layer names say of themselves takes the place of what lower layers say (`fila_lab.config.source_fields`)."""
    layers = _preset_layers(str(preset), ())
    for content in overrides:
        _refuse_preset(content, "")
        layers.append(Layer(content))
    tree: dict[str, Any] = {}
    layers = _with_pair(layers)
    for layer in layers:
        tree = apply_overrides(tree, layer.content, RunConfig, layer.source)
    tree, given = with_source_fields(tree, layers)
    tree["preset"] = Path(preset).stem if _is_path(str(preset)) else str(preset)
    try:
        config = RunConfig.model_validate(tree)
    except ValidationError as error:
        refused = str(config_error(error, RunConfig))
        raise ConfigError(f"{refused} ({given})" if given and "geometry" in refused else refused) from None
    check_run(config)
    return config


def _with_pair(layers: list[Layer]) -> list[Layer]:
    """The layers with the weights of the seed's tower pair laid on the layer that names the pairs."""
    flat = [flat_overrides(layer.content, RunConfig, layer.source) for layer in layers]
    seed = next((own["seed"] for own in reversed(flat) if "seed" in own), RunConfig.model_fields["seed"].default)
    found = paired_layer(flat, seed)
    if found is None:
        return layers
    at, content = found
    return [*layers[: at + 1], Layer(content, layers[at].source, layers[at].shipped), *layers[at + 1 :]]


def load_study(path: str | Path) -> StudyConfig:
    """A study file. Arms are not resolved here: `fila_lab.studies.plan` does that for a budget."""
    from fila_lab.config.study import StudyConfig

    path = Path(path)
    content = read_yaml(path)
    if not {"arms", "grid"} & content.keys() and ("extends" in content or _tells_a_run(content)):
        raise ConfigError(preset_given(str(path)))
    content.setdefault("name", path.stem)
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        raise config_error(error, StudyConfig, source=path.name) from None


def preset_given(name: str) -> str:
    """What is said of a preset where a study is wanted."""
    return f"{name} is a preset, not a study; train it by itself (fila-lab train {name}), or name it as a study's preset"


def study_given(name: str) -> str:
    """What is said of a study where a preset is wanted."""
    return f"{name} is a study, not a preset; run it (fila-lab run {name}), or give the preset that it names"


def _tells_a_run(content: Mapping[str, Any]) -> bool:
    """Whether all that a file says are fields of a run, and not its preset."""
    return bool(content) and "preset" not in content and {str(key).partition(".")[0] for key in content} <= RunConfig.model_fields.keys()


def study_yaml(study: StudyConfig) -> bytes:
    """What was said of a study, as a file that `load_study` reads."""
    return yaml_text(study.model_dump(mode="json", exclude_unset=True), width=110).encode()


def _read(path: Path) -> dict[str, Any]:
    """A preset file's content; a file that has not changed is read once."""
    try:
        state = path.stat()
    except OSError:
        return read_yaml(path)  # which says what is wrong
    return copy.deepcopy(_read_once(path, state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=16)
def _read_once(path: Path, size: int, changed: int) -> dict[str, Any]:
    return read_yaml(path)


def check_value(config: RunConfig, path: str, value: Any, source: str) -> None:
    """Refuse a value that its field of a run does not take, whatever the other fields are.

    Raises:
        ConfigError: the field, the value and a remedy, behind `source`.
    """
    tree = apply_overrides(config.model_dump(), {path: value}, RunConfig, source)
    try:
        RunConfig.model_validate(tree)
    except ValidationError as error:
        if lines := mistakes(error, RunConfig, source, below=path):
            raise ConfigError(lines[0]) from None


def _refuse_preset(layer: Mapping[str, Any], source: str) -> None:
    """A run knows the name of its preset, but does not choose one by it: what stands there would be lost."""
    if "preset" in layer:
        raise ConfigError(
            f"{source}preset = {layer['preset']!r} is laid over a preset, and would be lost; name it where the preset is named: "
            "`preset:` of a study, `extends:` of a preset file, --preset"
        )


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _preset_layers(name: str, above: tuple[str, ...], base: Path | None = None) -> list[Layer]:
    """The layers a preset is made of, its ancestors' first; a path is relative to the file that extends it."""
    if _is_path(name):
        path = (base / name) if base is not None and not Path(name).is_absolute() else shipped(Path(name))
    else:
        path = PRESETS / f"{name}.yaml"
        if not path.exists():
            known = preset_names()
            raise ConfigError(
                f"preset = {name!r} is unknown{did_you_mean(name, known)}; choose {', '.join(known)} or give the path of a YAML file"
            )
    key = str(path.resolve())
    if key in above:
        raise ConfigError(f"{path}: extends = {name!r} leads back to itself; a preset extends another one or nothing")
    content = _read(path)
    if "arms" in content or "grid" in content:
        raise ConfigError(study_given(str(path)))
    _refuse_preset(content, f"{path.name}: ")
    parent = content.pop("extends", None)
    below = _preset_layers(str(parent), (*above, key), path.parent) if parent is not None else []
    return [*below, Layer(content, path.name, shipped=path.parent == PRESETS)]
