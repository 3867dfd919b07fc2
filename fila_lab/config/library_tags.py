"""What open_clip and timm know of their published towers, read from the libraries' own sources: importing them would import torch.

Where a source is not laid out as it is read here, nothing is known, and nothing is refused before the library itself is asked.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.json_files import read_json

_PUBLISHED = ("hf_hub_id", "url", "file")
"""Arguments of a timm entry that has weights."""


def tag_sizes(tower: str, spec: str) -> dict[str, Any]:
    """What the library says of the tower that a tag names: configuration field -> value; empty where it says nothing.

    Raises:
        ConfigError: no such model or tag.
    """
    library, _, name = spec.partition(":")
    field = f"{tower}.weights = {spec!r}"
    if library == "timm":
        known = timm_convnexts()
        if known and name not in known:
            raise ConfigError(
                f"{field}: timm has no such pretrained ConvNeXt{did_you_mean(name, known)}; see timm.list_models(pretrained=True)"
            )
        return timm_sizes(name.partition(".")[0])
    tags = open_clip_tags()
    model, _, tag = name.partition("/")
    if tags and tag not in tags.get(model, {}):
        near = did_you_mean(name, [f"{m}/{t}" for m, own in tags.items() for t in own])
        hint = f"tags of {model}: {', '.join(tags[model])}" if model in tags else "see open_clip.list_pretrained()"
        raise ConfigError(f"{field}: open_clip has no such model and tag{near}; {hint}")
    sizes = open_clip_sizes(model)
    if tags and not sizes:
        raise ConfigError(f"{field} is no ViT of the kind that is read here; choose an open_clip ViT, e.g. ViT-L-14-336/openai")
    return sizes | {"vit.quick_gelu": tags[model][tag]} if sizes and tags else sizes


@functools.cache
def open_clip_tags() -> dict[str, dict[str, bool]]:
    """Model -> its tags -> whether that checkpoint was trained with QuickGELU; empty where it cannot be told."""
    tables: dict[str, dict[str, ast.expr]] = {}
    for name, value in _assigned("open_clip", "pretrained.py"):
        tables[name] = dict(_entries(value))
    known: dict[str, dict[str, bool]] = {}
    for model, table in tables.get("_PRETRAINED", {}).items():
        entries = tables.get(table.id, {}) if isinstance(table, ast.Name) else dict(_entries(table))
        known[model] = {tag: _quick_gelu(entry, tables) for tag, entry in entries.items()}
    for model, activations in list(known.items()):  # the library adds these by a loop
        if quick := {tag: True for tag, activation in activations.items() if activation}:
            known[f"{model}-quickgelu"] = quick
    return known if all(known.values()) else {}


def open_clip_sizes(model: str) -> dict[str, Any]:
    """Fields of `vit`, `geometry.patch` and `geometry.tile` that an open_clip model has; empty where it is no plain ViT."""
    folder = _folder("open_clip")
    try:
        vision = read_json(folder / "model_configs" / f"{model}.json")["vision_cfg"] if folder else {}
        if "timm_model_name" in vision or not isinstance(vision["layers"], int):
            return {}
        width, side = vision["width"], vision.get("image_size", 224)
        return {
            "vit.width": width,
            "vit.layers": vision["layers"],
            "vit.heads": width // vision.get("head_width", 64),
            "vit.mlp_ratio": float(vision.get("mlp_ratio", 4.0)),
            "geometry.patch": vision["patch_size"],
            "geometry.tile": side if isinstance(side, int) else side[0],
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


@functools.cache
def timm_convnexts() -> tuple[str, ...]:
    """timm's pretrained ConvNeXts, `MODEL.TAG`; empty where it cannot be told."""
    for name, value in _assigned("timm", "models/convnext.py"):
        if name == "default_cfgs" and isinstance(value, ast.Call) and value.args:
            return tuple(key for key, entry in _entries(value.args[0]) if any(word in _PUBLISHED for word, _ in _arguments(entry)))
    return ()


@functools.cache
def timm_sizes(model: str) -> dict[str, Any]:
    """Fields of `convnext` that a ConvNeXt of timm has; empty where it cannot be told."""
    tree = _source("timm", "models/convnext.py")
    for node in tree.body if tree is not None else ():
        if not isinstance(node, ast.FunctionDef) or node.name != model:
            continue
        for step in node.body:
            if isinstance(step, ast.Assign) and isinstance(step.targets[0], ast.Name) and step.targets[0].id == "model_args":
                told = {word: _value(entry) for word, entry in _entries(step.value)}
                depths, dims = told.get("depths"), told.get("dims")
                if depths is not None and dims is not None:
                    sizes = {"convnext.depths": tuple(depths), "convnext.dims": tuple(dims)}
                    return sizes | {"convnext.conv_mlp": bool(told.get("conv_mlp", False))}
    return {}


def _folder(library: str) -> Path | None:
    spec = find_spec(library)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@functools.cache
def _source(library: str, name: str) -> ast.Module | None:
    folder = _folder(library)
    try:
        return ast.parse((folder / name).read_text(encoding="utf-8")) if folder is not None else None
    except (OSError, ValueError, SyntaxError):
        return None


def _assigned(library: str, name: str) -> Iterator[tuple[str, ast.expr]]:
    """Names that a source assigns at its top level, and the expressions."""
    tree = _source(library, name)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _entries(value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Keys and values of `{"a": x}` or `dict(a=x)`."""
    if isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, entry
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        yield from _arguments(value)


def _arguments(call: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(call, ast.Call):
        yield from ((word.arg, word.value) for word in call.keywords if word.arg is not None)


def _quick_gelu(entry: ast.expr, tables: Mapping[str, Mapping[str, ast.expr]]) -> bool:
    if isinstance(entry, ast.Subscript) and isinstance(entry.value, ast.Name):  # another table's entry
        entry = tables.get(entry.value.id, {}).get(str(_value(entry.slice)), entry)
    return bool(_value(dict(_arguments(entry)).get("quick_gelu")))


def _value(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
