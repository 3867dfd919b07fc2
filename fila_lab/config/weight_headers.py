"""Names, shapes and types of the tensors in a weights file, from what stands at its head, whatever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from fila_lab.config.base import ConfigError
from fila_lab.config.pickled_header import pickled_shapes, pickled_types
from fila_lab.config.safetensors_header import FLOATS, Shape, tensor_shapes, tensor_types

Told = TypeVar("Told")


def stored_shapes(what: str, path: Path) -> dict[str, Shape] | None:
    """Name -> shape of the tensors in a file of safetensors, or in one that torch wrote; None of one that only torch can tell of.

    Args:
        what: what messages begin with.

    Raises:
        ConfigError: it is damaged, or holds no tensors.
    """
    return _told(what, path, tensor_shapes, pickled_shapes)


def stored_types(what: str, path: Path) -> dict[str, str] | None:
    """Name -> type of the tensors, in torch's words; else as `stored_shapes`."""
    return _told(what, path, tensor_types, pickled_types)


def require_floats(what: str, types: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse weights among `names` that are no floating point numbers of a type that is read: quantised ones.

    Raises:
        ConfigError: the first of them, and its type.
    """
    for name in names:
        if (kind := types.get(name, FLOATS[0])) not in FLOATS:
            raise ConfigError(f"{what}: {name} is {kind}; give unquantised weights")


def _told(what: str, path: Path, safe: Callable[[Path], Told], pickled: Callable[[Path], Told | None]) -> Told | None:
    if path.suffix == ".safetensors":
        try:
            return safe(path)
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigError(f"{what}: {path} cannot be read as safetensors ({error}); make or fetch the file again") from error
    try:
        return pickled(path)
    except ValueError as error:
        raise ConfigError(f"{what}: {path} {error}") from error
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read ({error.strerror or error}); check the path") from error
