"""Fields that are the weights' own: what the layer that names a source, or one above it, says must agree with it; what layers below say is
of other weights, and gives way.

A preset's sizes give way to those of the weights that a study or `--set` names; sizes that stand beside these weights are refused where
they are others. A shipped preset's sizes are those of its own weights, so that nothing is looked up for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fila_lab.config.base import ConfigError
from fila_lab.config.overrides import Tree, flat_overrides, model_of
from fila_lab.config.run import RunConfig


class Layer(NamedTuple):
    """One of the mappings that are laid over one another, lowest first: a preset's file, a study's, an arm's, `--set`.

    Attributes:
        content: keys may be dotted.
        source: where it stands, for messages.
        shipped: a preset of this package.
    """

    content: Mapping[str, Any]
    source: str = ""
    shipped: bool = False


class _Told(NamedTuple):
    """What weights say of their part: configuration field -> value; the fields that they do not say and no shape tells; and whether a layer
    below them may not be asked for these."""

    fields: Mapping[str, Any]
    untold: tuple[str, ...] = ()
    foreign: bool = False


def with_source_fields(tree: Tree, layers: Sequence[Layer]) -> tuple[Tree, str]:
    """The tree that layers give, with what its sources say where a layer below the one that names them says otherwise; and in words where
    `geometry.tile` is from, if it gave way. Sources that are missing or damaged say nothing here: a plan refuses them.

    Raises:
        ConfigError: a file that does not tell how many heads its ViT has, or which activation, and no layer says it of these weights.
    """
    if all(layer.shipped for layer in layers):
        return tree, ""
    fields = [frozenset() if layer.shipped else frozenset(flat_overrides(layer.content, RunConfig)) for layer in layers]
    given = ""
    for room in ("vit", "convnext", "language"):
        naming = [number for number, own in enumerate(fields) if f"{room}.weights" in own]
        part = tree.get(room)
        spec = part.get("weights") if isinstance(part, Mapping) else None
        if not naming or not isinstance(spec, str) or spec == "random":
            continue
        said = {".".join(path.split(".")[:2]) for own in fields[naming[-1] :] for path in own}
        told = _told(room, spec, tree)
        giving = [field for field, value in told.fields.items() if field not in said and not _alike(tree, field, value, told.fields)]
        another = told.foreign or any(field.startswith(f"{room}.") for field in giving)
        if another and (untold := [field for field in told.untold if field not in said]):
            raise ConfigError(
                f"{room}.weights = {spec!r} does not tell {' and '.join(untold)}, and what the preset says is of other weights; say it "
                f"beside them, e.g. {' '.join(f'--set {field}={_now(tree, field)}' for field in untold)}"
            )
        for field in giving:
            tree = _with(tree, field, told.fields[field])
        if "geometry.tile" in giving:
            given = f"geometry.tile = {told.fields['geometry.tile']} is that of {room}.weights = {spec!r}"
    return tree, given


def _told(room: str, spec: str, tree: Tree) -> _Told:
    from fila_lab.config.language_folder import language_sizes
    from fila_lab.config.tower_cards import CLIP
    from fila_lab.config.tower_sources import UNTOLD, tower_source

    try:
        if room == "language":
            return _Told(language_sizes(spec))
        source = tower_source(room, spec)
    except ConfigError:
        return _Told({})
    fields = dict(source.told)
    if _present(tree, "vit.positions") == "interpolate":
        fields.pop("geometry.tile", None)
    untold = tuple(field for field in UNTOLD[room] if source.files and field not in fields)
    other = source.statistics is not None and source.statistics != CLIP
    pixels = dict(zip(("mean", "std"), source.statistics, strict=True)) if other and source.statistics else None
    return _Told({**fields, f"{room}.pixels": pixels}, untold, source.foreign)


def _alike(tree: Tree, field: str, value: Any, told: Mapping[str, Any]) -> bool:
    """Whether a layer below says the same, perhaps in other words: it then stays as it is."""
    now = _present(tree, field)
    if field == "vit.mlp_ratio" and isinstance(now, int | float):
        return int(told["vit.width"] * now) == int(told["vit.width"] * value)
    if field == "language.kv_heads":
        now = now or told.get("language.heads", _present(tree, "language.heads"))
    return now == value or (isinstance(now, list) and now == list(value))


def _present(tree: Tree, field: str) -> Any:
    """What a tree says of a field of a part, or its default."""
    room, _, name = field.partition(".")
    part = tree.get(room)
    model = model_of(RunConfig.model_fields[room].annotation)
    assert model is not None
    return part[name] if isinstance(part, Mapping) and name in part else model.model_fields[name].default


def _now(tree: Tree, field: str) -> str:
    return str(_present(tree, field)).lower()


def _with(tree: Tree, field: str, value: Any) -> Tree:
    room, _, name = field.partition(".")
    part = tree.get(room)
    return {**tree, room: {**(part if isinstance(part, Mapping) else {}), name: value}}
