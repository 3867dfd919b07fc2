"""A tower's `weights` as a source: the files that hold them, and what they say of the tower. Reads no more than headers and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.hub_cache import cached_file, cached_folder
from fila_lab.config.layouts import joined_shape, reading
from fila_lab.config.library_tags import open_clip_model, open_clip_tags, tag_repository, timm_convnexts, timm_norm_eps, timm_sizes
from fila_lab.config.safetensors_header import Shape, metadata
from fila_lab.config.tower_cards import EXAMPLES, Statistics, Told, open_clip_told
from fila_lab.config.tower_folder import told_beside, weights_in
from fila_lab.config.tower_shapes import sizes_of
from fila_lab.config.weight_headers import require_floats, stored_shapes, stored_types
from fila_lab.config.weights import PICKLED, Form, require_file, weights_form

UNTOLD = {"vit": ("vit.heads", "vit.quick_gelu"), "convnext": ()}
"""Tower -> fields that no tensor's shape tells, and that have no usual value."""
FACTS = {"vit": UNTOLD["vit"], "convnext": ("convnext.norm_eps",)}
"""Tower -> fields that no tensor's shape tells: files of this package say them in their metadata."""


class TowerSource(NamedTuple):
    """Where a tower comes from.

    Attributes:
        files: its weights, where they are local, or in the hub's cache and looked for.
        told: configuration field -> value, as far as the source says it.
        statistics: of the pixels it was trained with, where the source says them.
        shapes: of the tensors by their names here; none where only torch can tell them.
        surplus: tensors of the source that the tower has no place for, where headers tell.
        foreign: whether another project wrote the files, as far as their names tell. This one's may be of before they said what shapes do
            not tell.
    """

    files: tuple[Path, ...] = ()
    told: Mapping[str, Any] = MappingProxyType({})
    statistics: Statistics | None = None
    shapes: Mapping[str, Shape] = MappingProxyType({})
    surplus: tuple[str, ...] = ()
    foreign: bool = False


def tower_source(tower: str, spec: str) -> TowerSource:
    """What a tower's `weights` names. A name on the hub says what its files in the cache say, and nothing where there are none.

    Raises:
        ConfigError: no known form, tag or file; a file that is damaged, or of another kind of tower.
    """
    form, named = weights_form(tower, spec), f"{tower}.weights = {spec!r}"
    if form.kind in ("open_clip", "timm"):
        told = tag_told(tower, spec)
        return TowerSource(told=told.fields, statistics=told.statistics)
    files = cached_files(form) if form.kind == "hf" else local_files(tower, spec)
    return source_of(tower, named, files) if files else TowerSource()


def local_files(tower: str, spec: str) -> tuple[Path, ...]:
    """The files that a tower's `weights` names by a path, or as the package's; none for `random` and what is published.

    Raises:
        ConfigError: no known form, a file or folder that is missing, or a folder without weights.
    """
    form = weights_form(tower, spec)
    if form.kind == "folder":
        return weights_in(f"{tower}.weights = {spec!r}", Path(form.name))
    return (require_file(f"{tower}.weights", spec, Path(form.name)),) if form.kind == "file" else ()


def cached_files(form: Form) -> tuple[Path, ...]:
    """The files of a library's tag or of a name on the hub that are in the hub's cache; none where they would have to be fetched."""
    if form.kind == "hf":
        folder = cached_folder(form.name)
        try:
            return () if folder is None else weights_in(form.name, folder)
        except ConfigError:  # not all of it has been fetched
            return ()
    repository = tag_repository(f"{form.kind}:{form.name}")
    found = None if repository is None else cached_file(repository.name, repository.files)
    return () if found is None else (found,)


def tag_told(tower: str, spec: str) -> Told:
    """What a library says of the tower that its tag names; nothing where its sources are not laid out as they are read here.

    Raises:
        ConfigError: no such model or tag, or a model whose tower is of another kind.
    """
    library, _, name = spec.partition(":")
    named = f"{tower}.weights = {spec!r}"
    if library == "timm":
        known = timm_convnexts()
        if known and name not in known:
            raise ConfigError(
                f"{named}: timm has no such pretrained ConvNeXt{did_you_mean(name, known)}; see timm.list_models(pretrained=True)"
            )
        sizes = timm_sizes(name.partition(".")[0])
        if known and not sizes:
            raise ConfigError(f"{named} is no ConvNeXt of the kind that is read here; choose another, e.g. {EXAMPLES['convnext']}")
        return Told(sizes)
    tags = open_clip_tags()
    model, _, tag = name.partition("/")
    if tags and tag not in tags.get(model, {}):
        near = did_you_mean(name, [f"{m}/{t}" for m, own in tags.items() for t in own])
        hint = f"tags of {model}: {', '.join(tags[model])}" if model in tags else "see open_clip.list_pretrained()"
        raise ConfigError(f"{named}: open_clip has no such model and tag{near}; {hint}")
    if not tags or not (card := open_clip_model(model)):
        return Told({})
    return open_clip_told(tower, named, {**card, "quick_gelu": tags[model][tag].quick_gelu})


def source_of(tower: str, named: str, files: tuple[Path, ...]) -> TowerSource:
    """What files of weights, and the JSON files beside them, say.

    Args:
        named: the field and its value, with which messages begin.

    Raises:
        ConfigError: a file that is damaged, of another kind of tower, or with quantised weights.
    """
    beside = told_beside(tower, named, files)
    shapes: dict[str, Shape] = {}
    types: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for path in files:
        if (found := stored_shapes(named, path)) is None:
            return TowerSource(files, beside.fields, beside.statistics, foreign=True)
        shapes |= found
        types |= stored_types(named, path) or {}
        if path.suffix == ".safetensors":
            facts |= {name: _value(text) for name, text in metadata(path).items() if name in FACTS[tower]}
    read = reading(tower, shapes, named)
    require_floats(named, types, (piece for pieces in read.pieces.values() for piece in pieces))
    own = {name: joined_shape(name, (shapes[piece] for piece in pieces)) for name, pieces in read.pieces.items()}
    told = sizes_of(tower, own) | beside.fields | facts
    if "convnext.dims" in told and "convnext.norm_eps" not in told:
        eps = timm_norm_eps(told["convnext.depths"], told["convnext.dims"])
        told |= {} if eps is None else {"convnext.norm_eps": eps}
    return TowerSource(files, told, beside.statistics, own, read.surplus, foreign=not read.own or files[0].suffix in PICKLED)


def _value(text: str) -> Any:
    """A fact in a file's metadata: `True`, `False` or a number."""
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.isdigit() else float(text)
