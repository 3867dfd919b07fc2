"""What a `weights` field may say, and the file it names."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from fila_lab.config.base import ConfigError

PACKAGE_WEIGHTS = Path(__file__).parents[1] / "weights"
_LIBRARY = {"vit": "open_clip:", "convnext": "timm:"}
_EXAMPLE = {"vit": "open_clip:ViT-L-14-336/openai", "convnext": "timm:convnext_base.clip_laion2b"}

TRAINED_PARTS = "model.safetensors"
"""Name of the file with a cell's trained parts, in the cell's folder."""

LEFT_OUT = {"vit": ("proj",), "convnext": ("head",)}
"""Tower -> what a file may hold beside the tower: projections and heads, and all below them."""


def weights_file(spec: str) -> Path | None:
    """The file of `package:NAME` or of a path ending in .safetensors; None for `random` and library tags."""
    if spec.startswith("package:"):
        return PACKAGE_WEIGHTS / f"{spec.removeprefix('package:')}.safetensors"
    return Path(spec).expanduser() if spec.endswith(".safetensors") else None


def surplus_tensors(names: Iterable[str], own: Container[str], left_out: Iterable[str]) -> list[str]:
    """Of the tensors of a file those that are neither the architecture's own nor left out: parts of another architecture."""
    parts = tuple(left_out)
    return [name for name in names if name not in own and not any(name == part or name.startswith(f"{part}.") for part in parts)]


def check_weights(tower: str, spec: str) -> None:
    """Refuse a tower's `weights` that is none of the known forms (the file itself is looked for when a cell is planned)."""
    library = _LIBRARY[tower]
    if spec == "random" or weights_file(spec) is not None or (spec.startswith(library) and len(spec) > len(library)):
        return
    raise ConfigError(
        f"{tower}.weights = {spec!r} is unknown; use random, package:NAME, the path of a .safetensors file, "
        f"or the library's own tag, e.g. {_EXAMPLE[tower]}"
    )


def require_weights(field: str, spec: str) -> Path | None:
    """The file of a `weights` field; ConfigError with field, path and remedy when it is missing."""
    path = weights_file(spec)
    if path is None or path.is_file():
        return path
    remedy = "make it with `fila-lab pretrain`" if spec.startswith("package:") else "check the path"
    raise ConfigError(f"{field} = {spec!r}: the weights file {path} is missing; {remedy}, or set {field}=random")
