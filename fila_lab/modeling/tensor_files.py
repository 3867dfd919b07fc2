"""Tensors of weights files by name, each read when it is asked for: safetensors, or what torch wrote, without running what is in it."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fila_lab.config.base import ConfigError
from fila_lab.config.pickled_header import NO_TENSORS, PROGRAM, state_dict_of, unread

_PARALLEL = "module."


class TensorFiles(Mapping[str, Tensor]):
    """The tensors of one file, or of several that belong together; a context manager that keeps them open.

    A file that torch wrote may hold a whole training state: its `state_dict` is read. `module.`, which data-parallel training puts before
    every name, is left out.

    Raises:
        ConfigError: a file that cannot be read, or holds no tensors.
    """

    def __init__(self, field: str, files: Sequence[Path]) -> None:
        """field: what messages begin with."""
        self._field = field
        self._open = ExitStack()
        self._from: dict[str, tuple[Any, str]] = {}
        self.metadata: dict[str, str] = {}
        for path in files:
            self._add_safetensors(path) if path.suffix == ".safetensors" else self._add_pickled(path)
        if self._from and all(name.startswith(_PARALLEL) for name in self._from):
            self._from = {name.removeprefix(_PARALLEL): place for name, place in self._from.items()}

    def __enter__(self) -> TensorFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def __getitem__(self, name: str) -> Tensor:
        file, there = self._from[name]
        value = file[there] if isinstance(file, dict) else file.get_tensor(there)
        assert isinstance(value, Tensor)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._from)

    def __len__(self) -> int:
        return len(self._from)

    def _add_safetensors(self, path: Path) -> None:
        try:
            file = self._open.enter_context(safe_open(path, framework="pt"))
            self._from |= {name: (file, name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            self.metadata |= file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"{self._field}: {path} cannot be read as safetensors ({error}); make or fetch the file again") from error

    def _add_pickled(self, path: Path) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it warns of is said below, or does not matter to tensors
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self._field}: {path} {_unread(str(error))}") from error
        content = state_dict_of(content)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)} if isinstance(content, dict) else {}
        if not tensors:
            raise ConfigError(f"{self._field}: {path} {NO_TENSORS}")
        self._from |= {name: (tensors, name) for name in tensors}


def _unread(error: str) -> str:
    if "TorchScript" in error:
        return PROGRAM
    return unread((error.strip().splitlines() or [""])[0])
