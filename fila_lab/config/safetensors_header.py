"""What a safetensors file holds, from its header alone."""

from __future__ import annotations

import functools
from pathlib import Path

from fila_lab.config.json_files import parse_json

Shape = tuple[int, ...]
FLOATS = ("float64", "float32", "float16", "bfloat16")
"""Types that weights are read from, in torch's words."""

_TYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""The format's word for a type -> torch's."""


def tensor_shapes(path: Path) -> dict[str, Shape]:
    """Name -> shape of the tensors in a safetensors file, from its header.

    Raises:
        ValueError: the header is damaged, or the file shorter than it says.
    """
    state = path.stat()
    return _header(str(path), state.st_size, state.st_mtime_ns)[0]


def tensor_types(path: Path) -> dict[str, str]:
    """Name -> type of the tensors in a safetensors file, in torch's words where it has one, from its header.

    Raises:
        ValueError: as `tensor_shapes`.
    """
    state = path.stat()
    return _header(str(path), state.st_size, state.st_mtime_ns)[1]


def metadata(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says beside its tensors.

    Raises:
        ValueError: as `tensor_shapes`.
    """
    state = path.stat()
    return _header(str(path), state.st_size, state.st_mtime_ns)[2]


@functools.lru_cache(maxsize=64)
def _header(path: str, size: int, changed: int) -> tuple[dict[str, Shape], dict[str, str], dict[str, str]]:
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= size - 8:
            raise ValueError("no safetensors header")
        content = parse_json(stream.read(length))
    tensors = {name: entry for name, entry in content.items() if name != "__metadata__"}
    try:
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
        types = {name: _TYPES.get(entry["dtype"], str(entry["dtype"]).lower()) for name, entry in tensors.items()}
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("a damaged safetensors header") from error
    if size != 8 + length + end:
        raise ValueError(f"{size} bytes, {8 + length + end} by its header")
    told = content.get("__metadata__")
    return shapes, types, dict(told) if isinstance(told, dict) else {}
