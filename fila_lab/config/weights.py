"""What a `weights` field may say, and the file or folder it names."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from fila_lab.config.base import ConfigError
from fila_lab.config.hub_cache import HUB_NAME
from fila_lab.config.instruments import RETIRED, not_shipped

PACKAGE_WEIGHTS = Path(__file__).parents[1] / "weights"
PICKLED = (".pt", ".pth", ".bin")
"""Ends of files that torch wrote: they are read without running what is in them."""

TRAINED_PARTS = "model.safetensors"
"""Name of the file with a cell's trained parts, in the cell's folder."""

Kind = Literal["random", "file", "folder", "open_clip", "timm", "hf"]


class Form(NamedTuple):
    """What kind of source a tower's `weights` names, and its name without the kind: a path, a library's tag, a name on the hub."""

    kind: Kind
    name: str


def weights_form(tower: str, spec: str) -> Form:
    """The form of a tower's `weights`; whether what it names is there is not looked at.

    Raises:
        ConfigError: none of the known forms.
    """
    kind, colon, name = spec.partition(":")
    libraries: dict[str, tuple[Kind, ...]] = {"vit": ("open_clip", "hf"), "convnext": ("open_clip", "timm", "hf")}
    for library in libraries[tower]:
        if kind == library and (HUB_NAME.match(name) if library == "hf" else name):
            return Form(library, name)
    if spec == "random":
        return Form("random", "")
    if weights_file(spec) is not None or spec.endswith(PICKLED):
        return Form("file", str(weights_file(spec) or Path(spec).expanduser()))
    path = Path(spec).expanduser()
    if "\0" not in spec and spec.strip() and ((os.sep in spec and not colon) or spec.startswith((".", "~")) or path.is_dir()):
        return Form("folder", str(path))
    tags = {"vit": "open_clip:ViT-L-14-336/openai", "convnext": "timm:convnext_base.clip_laion2b or open_clip:MODEL/TAG"}[tower]
    raise ConfigError(
        f"{tower}.weights = {spec!r} is unknown; use random, package:NAME, the path of a file (.safetensors, .pt, .bin) or folder, "
        f"hf:OWNER/NAME, or a library's own tag, e.g. {tags}"
    )


def weights_file(spec: str) -> Path | None:
    """The file of `package:NAME` or of a path ending in .safetensors; None for all else."""
    if spec.startswith("package:"):
        return PACKAGE_WEIGHTS / f"{spec.removeprefix('package:')}.safetensors"
    return Path(spec).expanduser() if spec.endswith(".safetensors") else None


def below(name: str, parts: Iterable[str]) -> bool:
    """Whether a tensor is one of these parts, or in one of them."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def surplus_tensors(names: Iterable[str], own: Container[str], left_out: Iterable[str] = ()) -> list[str]:
    """Of the tensors of a file those that are neither the architecture's own nor left out: parts of another architecture."""
    parts = tuple(left_out)
    return [name for name in names if name not in own and not below(name, parts)]


def require_weights(field: str, spec: str) -> Path | None:
    """The file of a `weights` field; ConfigError with field, path and remedy when it is missing."""
    path = weights_file(spec)
    return None if path is None else require_file(field, spec, path)


def require_file(field: str, spec: str, path: Path) -> Path:
    """A weights file that is there.

    Raises:
        ConfigError: it is not; field, path and remedy.
    """
    if path.is_file():
        return path
    if spec in RETIRED:
        raise ConfigError(f"{field}: {not_shipped([spec], 'name weights that are (`fila-lab presets show mini`)')}")
    remedy = "check the name: `fila-lab weights mini` lists those there are" if spec.startswith("package:") else "check the path"
    raise ConfigError(f"{field} = {spec!r}: the weights file {path} is missing; {remedy}, or set {field}=random")
