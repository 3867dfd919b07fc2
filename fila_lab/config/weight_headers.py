"""Names and shapes of the tensors in a weights file, from what stands at its head, whatever wrote it."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config.base import ConfigError
from fila_lab.config.pickled_header import pickled_shapes
from fila_lab.config.safetensors_header import Shape, tensor_shapes


def stored_shapes(what: str, path: Path) -> dict[str, Shape] | None:
    """Name -> shape of the tensors in a file of safetensors, or in one that torch wrote; None of one that only torch can tell of.

    Args:
        what: what messages begin with.

    Raises:
        ConfigError: it is damaged, or holds no tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return tensor_shapes(path)
        except (OSError, ValueError, AttributeError) as error:
            raise ConfigError(f"{what}: {path} cannot be read as safetensors ({error}); make or fetch the file again") from error
    try:
        return pickled_shapes(path)
    except ValueError as error:
        raise ConfigError(f"{what}: {path} {error}") from error
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read ({error.strerror or error}); check the path") from error
