"""How libraries name the tensors of the towers they publish: one table, for files' headers and for their contents.

A tower here has open_clip's names (ViT) or timm's (ConvNeXt). A layout is told by a tensor that only it has, whatever stands before the
tower's names (`visual.`, `vision_model.`, ...); its rules give each of the tower's tensors its name here, several that are joined the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

from fila_lab.config.base import ConfigError
from fila_lab.config.safetensors_header import Shape
from fila_lab.config.tower_shapes import POSITIONS
from fila_lab.config.weights import below


class Layout(NamedTuple):
    """A library's names for a tower.

    Attributes:
        library: whose they are.
        tower: `vit` or `convnext`.
        mark: the end of the name that tells the layout; what stands before it stands before all of the tower's names.
        rules: (pattern of a name, its name here); none: the names are the same.
        left_out: what may stand beside the tower under the same beginning: projections and heads, and all below them.
    """

    library: str
    tower: str
    mark: str
    rules: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


class Reading(NamedTuple):
    """What a file's tensors are to a tower.

    Attributes:
        pieces: the tower's tensors by their names here -> the file's that are joined into one.
        surplus: those that the tower has no place for.
        own: whether they are named as this package writes them: a tower, and nothing beside it.
    """

    pieces: dict[str, tuple[str, ...]]
    surplus: tuple[str, ...]
    own: bool


_SAME = ((r"(.+)", r"\1"),)
_HF = r"encoder\.layers\.(\d+)\."
_BLOCK = r"transformer.resblocks.\1."
LAYOUTS = (
    Layout(
        "transformers",
        "vit",
        "pre_layrnorm.weight",  # spelled so
        (
            (r"embeddings\.class_embedding", "class_embedding"),
            (r"embeddings\.position_embedding\.weight", POSITIONS),
            (r"embeddings\.patch_embedding\.weight", "conv1.weight"),
            (r"pre_layrnorm\.(weight|bias)", r"ln_pre.\1"),
            (r"post_layernorm\.(weight|bias)", r"ln_post.\1"),
            (_HF + r"layer_norm([12])\.(weight|bias)", _BLOCK + r"ln_\2.\3"),
            (_HF + r"self_attn\.q_proj\.(weight|bias)", _BLOCK + r"attn.in_proj_\2"),
            (_HF + r"self_attn\.k_proj\.(weight|bias)", _BLOCK + r"attn.in_proj_\2"),
            (_HF + r"self_attn\.v_proj\.(weight|bias)", _BLOCK + r"attn.in_proj_\2"),
            (_HF + r"self_attn\.out_proj\.(weight|bias)", _BLOCK + r"attn.out_proj.\2"),
            (_HF + r"mlp\.fc1\.(weight|bias)", _BLOCK + r"mlp.c_fc.\2"),
            (_HF + r"mlp\.fc2\.(weight|bias)", _BLOCK + r"mlp.c_proj.\2"),
        ),
        ("embeddings.position_ids", "visual_projection", "text_projection", "text_model", "logit_scale"),
    ),
    Layout(
        "timm",
        "vit",
        "patch_embed.proj.weight",
        (
            (r"cls_token", "class_embedding"),
            (r"pos_embed", POSITIONS),
            (r"patch_embed\.proj\.weight", "conv1.weight"),
            (r"norm_pre\.(weight|bias)", r"ln_pre.\1"),
            (r"norm\.(weight|bias)", r"ln_post.\1"),
            (r"blocks\.(\d+)\.norm([12])\.(weight|bias)", _BLOCK + r"ln_\2.\3"),
            (r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", _BLOCK + r"attn.in_proj_\2"),
            (r"blocks\.(\d+)\.attn\.proj\.(weight|bias)", _BLOCK + r"attn.out_proj.\2"),
            (r"blocks\.(\d+)\.mlp\.fc1\.(weight|bias)", _BLOCK + r"mlp.c_fc.\2"),
            (r"blocks\.(\d+)\.mlp\.fc2\.(weight|bias)", _BLOCK + r"mlp.c_proj.\2"),
        ),
        ("head",),
    ),
    Layout("open_clip", "vit", "ln_pre.weight", (), ("proj",)),
    Layout("timm", "convnext", "stem.0.weight", (), ("head",)),
)
_OWN = {"vit": LAYOUTS[2], "convnext": LAYOUTS[3]}
"""Tower -> the layout of its own names."""
_DIMENSIONS = {"class_embedding": 1, POSITIONS: 2}
_KINDS = {"vit": "ViT", "convnext": "ConvNeXt"}


def reading(tower: str, names: Collection[str], field: str) -> Reading:
    """How to read a tower out of tensors of these names; by its own names where no layout is recognised.

    Args:
        field: the configuration field and its value, for the message.

    Raises:
        ConfigError: the tensors are of the other tower, or of more than one.
    """
    found = [(layout, before) for layout in LAYOUTS for before in _beginnings(layout.mark, names)]
    own = [(layout, before) for layout, before in found if layout.tower == tower]
    if found and not own:
        other = found[0][0]
        raise ConfigError(
            f"{field} holds a {_KINDS[other.tower]}, named as {other.library} names it; choose weights of this architecture, a "
            f"{_KINDS[tower]}, or name these at {other.tower}.weights"
        )
    if len(own) > 1:
        before = " and ".join(repr(start) for _, start in own)
        raise ConfigError(f"{field} holds {len(own)} towers of this kind, below {before}; give a file with one")
    layout, before = own[0] if own else (_OWN[tower], "")
    return _read(layout, before, names)


def joined_shape(own: str, shapes: Iterable[Shape]) -> Shape:
    """The shape of the tensor `own` here, of tensors joined along their first dimension: timm keeps a batch of one before some of them."""
    first, *others = shapes
    whole = (sum(shape[0] for shape in (first, *others) if shape), *first[1:]) if others else first
    extra = len(whole) - _DIMENSIONS.get(own, len(whole))
    return whole[extra:] if extra > 0 and set(whole[:extra]) == {1} else whole


def _beginnings(mark: str, names: Iterable[str]) -> list[str]:
    """What stands before the mark, for each name that ends with it at a dot."""
    return sorted(name.removesuffix(mark) for name in names if name == mark or name.endswith(f".{mark}"))


def _read(layout: Layout, before: str, names: Iterable[str]) -> Reading:
    joined: dict[str, dict[int, str]] = {}
    needed: dict[str, int] = {}
    surplus, alone = [], before == "" and not layout.rules
    parts = Counter(own for _, own in layout.rules)
    for name in names:
        if not name.startswith(before):
            continue  # another part of a whole model
        short = name.removeprefix(before)
        if below(short, layout.left_out):
            alone = False
            continue
        for number, (pattern, own) in enumerate(layout.rules or _SAME):
            if match := re.fullmatch(pattern, short):
                made = match.expand(own)
                joined.setdefault(made, {})[number] = name
                needed[made] = parts.get(own, 1)
                break
        else:
            surplus.append(short)
    whole = {own: tuple(found[number] for number in sorted(found)) for own, found in joined.items() if len(found) == needed[own]}
    return Reading(whole, tuple(surplus), alone)
