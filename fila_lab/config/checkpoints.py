"""Whether local checkpoints and tokenizers are there and fit a run, read from their headers alone. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from fila_lab.config.base import ConfigError
from fila_lab.config.language_folder import check_language, tokenizer_size
from fila_lab.config.lora_maps import check_lora
from fila_lab.config.run import RunConfig
from fila_lab.config.safetensors_header import Shape
from fila_lab.config.strategies import has_vit
from fila_lab.config.tower_shapes import POSITIONS, square_side, tower_shapes
from fila_lab.config.weight_headers import require_floats, stored_shapes, stored_types
from fila_lab.config.weights import require_weights

if TYPE_CHECKING:
    from fila_lab.config.tower_sources import TowerSource


def check_checkpoints(config: RunConfig) -> None:
    """Refuse weights files, language model folders and tokenizer folders that are missing, damaged, quantised, or of other sizes than the
    run's. Of what torch wrote, files that name more classes than tensors need are looked at when a cell starts.

    Raises:
        ConfigError: field, file, both sizes and remedy.
    """
    for tower in ("vit", "convnext"):
        if (spec := getattr(config, tower).weights) != "random":
            _check_tower(tower, f"{tower}.weights = {spec!r}", config)
    spec = config.language.weights
    path = require_weights("language.weights", spec)
    if path is not None:
        field = f"language.weights = {spec!r}"
        shapes = stored_shapes(field, path)
        assert shapes is not None  # safetensors tell
        _check_shapes(field, shapes, _answers(config), "language")
        require_floats(field, stored_types(field, path) or {}, shapes)
    check_language(config.language)
    check_lora(config.language)


def _told_otherwise(tower: str, source: TowerSource, config: RunConfig) -> dict[str, Any]:
    """Fields of a run that its source tells otherwise, and what it tells: sizes, heads, activation, pixels."""
    from fila_lab.config.tower_cards import CLIP

    said = config.model_dump(mode="json", context={"whole": True})
    differing: dict[str, Any] = {}
    for field, value in source.told.items():
        room, _, name = field.partition(".")
        own, plain = said[room][name], list(value) if isinstance(value, tuple) else value
        free = field == "geometry.tile" and config.vit.positions == "interpolate"
        alike = own == plain or (name == "mlp_ratio" and int(config.vit.width * own) == int(config.vit.width * value))
        if not alike and not free:
            differing[field] = plain
    if source.statistics is not None:
        pixels = getattr(config, tower).pixels
        if source.statistics != (CLIP if pixels is None else (pixels.mean, pixels.std)):
            differing[f"{tower}.pixels"] = dict(zip(("mean", "std"), map(list, source.statistics), strict=True))
    return differing


def _check_tower(tower: str, field: str, config: RunConfig) -> None:
    from fila_lab.config.tower_sources import tower_source

    source = tower_source(tower, getattr(config, tower).weights)
    if source.shapes:
        _check_shapes(field, source.shapes, tower_shapes(tower, config), tower, config.vit.positions == "interpolate", source.surplus)
    if differing := _told_otherwise(tower, source, config):
        sizes = " ".join(f"--set {name}={_word(value)}" for name, value in differing.items())
        raise ConfigError(f"{field} is another tower than the configuration says; use {sizes}")


def _word(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"))
    return f"'{text}'" if isinstance(value, dict) else text


def _check_shapes(
    field: str,
    found: Mapping[str, Shape],
    wanted: Mapping[str, Shape],
    room: str,
    interpolated: bool = False,
    surplus: Collection[str] | None = None,
) -> None:
    """surplus: tensors that the source has no place for; None where it may hold more than what is looked at."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(f"{field} lacks {len(missing)} of {len(wanted)} tensors, e.g. {missing[0]}; choose weights of this architecture")
    if surplus is not None and (more := [*surplus, *(name for name in found if name not in wanted)]):
        raise ConfigError(
            f"{field} has, more than the configuration, {len(more)} tensors, e.g. {more[0]}; choose weights of this architecture"
        )
    for name, shape in wanted.items():
        if found[name] != shape and not (interpolated and _resampled(name, found[name], shape)):
            grid = ", or have it resampled by vit.positions=interpolate" if _resampled(name, found[name], shape) else ""
            raise ConfigError(
                f"{field}: {name} has shape {list(found[name])}, the configuration says {list(shape)}; set the sizes in {room} "
                f"(and geometry) to those of the weights{grid}"
            )


def _resampled(name: str, found: Shape, wanted: Shape) -> bool:
    """Whether a positional embedding is of another grid alone."""
    return name == POSITIONS and len(found) == 2 and found[1] == wanted[1] and square_side(found[0]) is not None


def _answers(config: RunConfig) -> dict[str, Shape]:
    """The parts that `fila-lab pretrain answers` writes, as far as their sizes are the configuration's."""
    language = config.language
    width, keys = language.width, (language.kv_heads or language.heads) * (language.width // language.heads)
    shapes: dict[str, Shape] = {"separator.separator": (width,), "language.model.norm.weight": (width,)}
    if (words := tokenizer_size(language)) is not None:
        shapes["language.model.embed_tokens.weight"] = (words, width)
    for layer in range(language.layers):
        block = f"language.model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (width, width) for name in ("q", "o")}
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (keys, width) for name in ("k", "v")}
        shapes |= {f"{block}.mlp.{name}_proj.weight": (language.intermediate, width) for name in ("gate", "up")}
        shapes[f"{block}.mlp.down_proj.weight"] = (width, language.intermediate)
    first = {"linear": "projector.weight", "pixel_shuffle": "projector.1.weight"}.get(config.projector.kind, "projector.0.weight")
    if has_vit(config):
        shapes[first] = (width, config.vit.width * config.projector.channels)
    return shapes
