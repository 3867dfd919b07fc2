"""Whether weights fit what they are for: one check for towers, language models, answer files and trained cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from fila_lab.config import safetensors_header
from fila_lab.config.base import ConfigError
from fila_lab.config.weights import surplus_tensors

FLOATS = tuple(getattr(torch, name) for name in safetensors_header.FLOATS)


def require_fit(
    field: str, spec: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], unused: Iterable[str] = (), remedy: str = ""
) -> dict[str, Tensor]:
    """Of the tensors `given` those that `own` names; names in `unused`, or below them, are heads and projections that may be left out.

    Args:
        field, spec: the configuration field and its value, for the message.
        remedy: what to do about other shapes.

    Raises:
        ConfigError: tensors are missing, or are more than the configuration's, have another shape or no floating type, or hold NaN or
            infinite values; the message names the first of them.
    """
    surplus = surplus_tensors(given, own, unused)
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            raise ConfigError(
                f"{field}={spec!r} does not fit: {name} has shape {list(given[name].shape)}, the configuration says {list(value.shape)}; "
                f"{remedy or 'set the sizes to those of the weights'}"
            )
    require_all(field, spec, missing=own.keys() - given.keys(), surplus=surplus)
    chosen = {name: given[name] for name in own}
    for name, value in chosen.items():
        if value.dtype not in FLOATS:
            raise ConfigError(f"{field}={spec!r}: {name} is {str(value.dtype).removeprefix('torch.')}; give unquantised weights")
    require_finite(field, spec, chosen)
    return chosen


def require_all(field: str, spec: str, missing: Collection[str], surplus: Collection[str]) -> None:
    """ConfigError where tensors are missing (they would keep random values) or left over (parts of another architecture)."""
    for names, word in ((missing, "lacks"), (surplus, "has, more than the configuration,")):
        if names:
            raise ConfigError(f"{field}={spec!r} {word} {len(names)} tensors, e.g. {min(names)}; choose weights of this architecture")


def require_finite(field: str, spec: str, state: Mapping[str, Tensor]) -> None:
    """ConfigError where a tensor holds NaN or infinite values."""
    for name, value in state.items():
        if value.dtype in FLOATS and value.numel() and not _finite(value):
            raise ConfigError(f"{field}={spec!r}: {name} holds NaN or infinite values; make or fetch the weights again")


def require_facts(field: str, spec: str, own: Mapping[str, str], told: Mapping[str, str]) -> None:
    """ConfigError where a file's metadata tell another value of a configuration field than the configuration; files may tell nothing."""
    for fact, value in own.items():
        if told.get(fact, value) != value:
            raise ConfigError(
                f"{field}={spec!r} was made with {fact}={told[fact]}, the configuration says {value}; set {fact}={told[fact].lower()}"
            )


def _finite(value: Tensor) -> bool:
    least, most = torch.aminmax(value.detach())  # NaN passes through
    return bool(torch.isfinite(least.float()) & torch.isfinite(most.float()))  # float32 holds what trains
