"""What open_clip and timm know of their published towers, read from the libraries' own sources.

Where a source is not laid out as it is read here, nothing is known, and nothing is refused before the library itself is asked.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from fila_lab.config.json_files import read_json
from fila_lab.config.library_sources import arguments, assigned, constant, entries, library_folder, syntax

TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights in a library's repositories, the first that there is."""
_PUBLISHED = ("hf_hub_id", "url", "file")
"""Arguments of a timm entry that has weights."""


class Repository(NamedTuple):
    """Where a tag's weights are published: a name on the hub, and the names of the file, the first that there is."""

    name: str
    files: tuple[str, ...]


class Tag(NamedTuple):
    """What open_clip says of a tag: whether it was trained with QuickGELU, and where it is published."""

    quick_gelu: bool
    repository: Repository | None


def tag_repository(spec: str) -> Repository | None:
    """Where the weights of a library's tag are published; None where that is not known."""
    library, _, name = spec.partition(":")
    if library == "timm":
        return timm_convnexts().get(name)
    model, _, tag = name.partition("/")
    known = open_clip_tags().get(model, {}).get(tag)
    return None if known is None else known.repository


@functools.cache
def open_clip_tags() -> dict[str, dict[str, Tag]]:
    """Model -> its tags; empty where they cannot be told."""
    tables: dict[str, dict[str, ast.expr]] = {}
    for name, value in assigned("open_clip", "pretrained.py"):
        tables[name] = dict(entries(value))
    known: dict[str, dict[str, Tag]] = {}
    for model, table in tables.get("_PRETRAINED", {}).items():
        own = tables.get(table.id, {}) if isinstance(table, ast.Name) else dict(entries(table))
        known[model] = {tag: _tag(entry, tables) for tag, entry in own.items()}
    for model, tags in list(known.items()):  # the library adds these by a loop
        if quick := {name: tag for name, tag in tags.items() if tag.quick_gelu}:
            known[f"{model}-quickgelu"] = quick
    return known if all(known.values()) else {}


def open_clip_model(model: str) -> dict[str, Any]:
    """An open_clip model as its own configuration describes it; empty where there is none."""
    folder = library_folder("open_clip")
    try:
        content = read_json(folder / "model_configs" / f"{model}.json") if folder else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@functools.cache
def timm_convnexts() -> dict[str, Repository | None]:
    """timm's pretrained ConvNeXts, `MODEL.TAG`, and where they are published; empty where it cannot be told."""
    for name, value in assigned("timm", "models/convnext.py"):
        if name == "default_cfgs" and isinstance(value, ast.Call) and value.args:
            own = {key: dict(arguments(entry)) for key, entry in entries(value.args[0])}
            return {key: _timm_repository(key, entry) for key, entry in own.items() if any(word in entry for word in _PUBLISHED)}
    return {}


@functools.cache
def timm_sizes(model: str) -> dict[str, Any]:
    """Fields of `convnext` that a ConvNeXt of timm has; empty where it cannot be told, or it has another activation."""
    told = _model_arguments("models/convnext.py", model)
    depths, dims = told.get("depths"), told.get("dims")
    if depths is None or dims is None or told.get("act_layer", "gelu") != "gelu":
        return {}
    sizes = {"convnext.depths": tuple(depths), "convnext.dims": tuple(dims), "convnext.conv_mlp": bool(told.get("conv_mlp", False))}
    return sizes | {"convnext.norm_eps": float(told.get("norm_eps") or 1e-6)}


def timm_norm_eps(depths: tuple[int, ...], dims: tuple[int, ...]) -> float | None:
    """The epsilon of the norms in timm's ConvNeXts of these sizes; None where it has none of them, or they differ."""
    tree = syntax("timm", "models/convnext.py")
    models = [node.name for node in (tree.body if tree is not None else ()) if isinstance(node, ast.FunctionDef)]
    alike = [sizes for sizes in map(timm_sizes, models) if (sizes.get("convnext.depths"), sizes.get("convnext.dims")) == (depths, dims)]
    found = {sizes["convnext.norm_eps"] for sizes in alike}
    return found.pop() if len(found) == 1 else None


@functools.cache
def timm_vit_sizes(model: str) -> dict[str, Any]:
    """Fields of `vit` and `geometry.patch` that a CLIP ViT of timm has; empty where it cannot be told, or it is another kind of ViT."""
    told = _model_arguments("models/vision_transformer.py", model)
    if not told.get("pre_norm") or not all(isinstance(told.get(name), int) for name in ("embed_dim", "depth", "num_heads", "patch_size")):
        return {}
    return {
        "vit.width": told["embed_dim"],
        "vit.layers": told["depth"],
        "vit.heads": told["num_heads"],
        "vit.quick_gelu": told.get("act_layer") == "quick_gelu",
        "geometry.patch": told["patch_size"],
    }


def _model_arguments(name: str, model: str) -> dict[str, Any]:
    """The arguments that a function of timm's gives the class it builds, as far as they are literals."""
    tree = syntax("timm", name)
    for node in tree.body if tree is not None else ():
        if not isinstance(node, ast.FunctionDef) or node.name != model:
            continue
        for step in node.body:
            if isinstance(step, ast.Assign) and isinstance(step.targets[0], ast.Name) and step.targets[0].id == "model_args":
                return {word: constant(entry) for word, entry in entries(step.value)}
    return {}


def _timm_repository(name: str, entry: Mapping[str, ast.expr]) -> Repository | None:
    repository, file = constant(entry.get("hf_hub_id")), constant(entry.get("hf_hub_filename"))
    if not isinstance(repository, str):
        return None
    return Repository(f"{repository}{name}" if repository.endswith("/") else repository, (file,) if file else TIMM_FILES)


def _tag(entry: ast.expr, tables: Mapping[str, Mapping[str, ast.expr]]) -> Tag:
    if isinstance(entry, ast.Subscript) and isinstance(entry.value, ast.Name):  # another table's entry
        entry = tables.get(entry.value.id, {}).get(str(constant(entry.slice)), entry)
    told = dict(arguments(entry))
    place = constant(told.get("hf_hub"))
    repository = None
    if isinstance(place, str) and place:
        name, _, file = place.rpartition("/")
        repository = Repository(name, (f"{file.removesuffix('.bin')}.safetensors", file) if file.endswith(".bin") else (file,))
        repository = repository if file else Repository(name, OPEN_CLIP_FILES)
    return Tag(bool(constant(told.get("quick_gelu"))), repository)
