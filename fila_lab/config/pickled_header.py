"""What a file that torch wrote holds, from the pickle in it, without torch, and without running anything that the pickle names."""

from __future__ import annotations

import functools
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fila_lab.config.safetensors_header import Shape

PROGRAM = "is a TorchScript archive, which holds a program; give the library's tag (open_clip:MODEL/TAG) or a state_dict"
NO_TENSORS = "holds no tensors by name; give a file with a model's state_dict"

_WRAPPERS = ("state_dict", "model")
"""Keys under which training programs keep a model beside their own state."""
_MAGIC = 0x1950A86A20F9469CFC6C
"""Of files from before torch wrote zip archives: four pickles in a row, of which it is the first and the content the last."""
_PLAIN = re.compile(r"\w*Storage|b?float\d+\w*|q?u?int\d+\w*|bool|per_(tensor|channel)_\w+")
"""torch's words for storages, types, and how numbers are quantised."""
_LARGEST = 2**26
"""Bytes of a pickle that is looked at: a name and a shape take a hundred."""


def pickled_shapes(path: Path) -> dict[str, Shape] | None:
    """Name -> shape of the tensors in a file that torch wrote; None where only torch can tell, because it names other classes too.

    Raises:
        ValueError: it is damaged, holds a program, or no tensors; the message goes on behind the file's name.
        OSError: it cannot be read.
    """
    state = path.stat()
    found = _tensors(str(path), state.st_size, state.st_mtime_ns)
    return None if found is None else {name: tensor.shape for name, tensor in found.items()}


def pickled_types(path: Path) -> dict[str, str] | None:
    """Name -> type of the tensors in a file that torch wrote, in torch's words; None where only torch can tell.

    Raises:
        ValueError, OSError: as `pickled_shapes`.
    """
    state = path.stat()
    found = _tensors(str(path), state.st_size, state.st_mtime_ns)
    return None if found is None else {name: tensor.type for name, tensor in found.items()}


def state_dict_of(content: Any) -> Any:
    """The model's own state in what a training program has saved."""
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return content


def unread(why: object) -> str:
    """What is said of a file that holds more, or less, than weights."""
    return f"cannot be read as weights alone ({why}); give safetensors, or a file with a model's state_dict"


class _Tensor(NamedTuple):
    shape: Shape
    type: str


class _UntoldError(Exception):
    """What the file holds is not told by tensors and plain values alone."""


@functools.lru_cache(maxsize=64)
def _tensors(path: str, size: int, changed: int) -> dict[str, _Tensor] | None:
    try:
        content = state_dict_of(_content(path))
    except _UntoldError:
        return None
    except (pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(unread(str(error) or "it is cut off")) from error
    except (AttributeError, IndexError, KeyError, MemoryError, TypeError, UnicodeDecodeError):  # whatever a pickle may come to
        return None
    tensors = {str(name): value for name, value in content.items() if isinstance(value, _Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise ValueError(NO_TENSORS)
    return tensors


def _content(path: str) -> Any:
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as stream:
            if stream.peek(4).startswith(b"PK\x03\x04"):
                raise zipfile.BadZipFile("it is cut off")
            if _Weights(stream).load() != _MAGIC:
                raise pickle.UnpicklingError("torch did not write it")
            _, _, content = (_Weights(stream).load() for _ in range(3))
            return content
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise ValueError(PROGRAM)
        pickled = next((name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None)
        if pickled is None:
            raise pickle.UnpicklingError("no data.pkl in it")
        if archive.getinfo(pickled).file_size > _LARGEST:
            raise _UntoldError
        return _Weights(io.BytesIO(archive.read(pickled))).load()


class _Weights(pickle.Unpickler):
    """Knows dictionaries, sets, plain values, and how torch puts a tensor together: the shape is kept, the storage not read.
    All else that a pickle can name, it refuses."""

    def find_class(self, module: str, name: str) -> Any:
        if (known := _KNOWN.get(f"{module}.{name}")) is not None:
            return known
        if module in ("torch", "torch.storage") and _PLAIN.fullmatch(name):
            return name
        raise _UntoldError

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and pid and pid[0] == "storage":
            return pid[1]
        raise _UntoldError


def _tensor(storage: str, offset: object, size: tuple[int, ...], *_: object) -> _Tensor:
    kind = storage.removesuffix("Storage")
    return _Tensor(tuple(map(int, size)), _STORED.get(kind, kind.lower()))


def _typed_tensor(storage: str, offset: object, size: tuple[int, ...], *others: object) -> _Tensor:
    return _Tensor(tuple(map(int, size)), str(others[3]))  # behind stride, requires_grad and hooks


def _parameter(data: _Tensor, *_: object) -> _Tensor:
    return data


_STORED = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "ComplexFloat": "complex64",
}
"""What torch calls a storage -> the type of its numbers, where it is another word."""
_KNOWN: dict[str, Callable[..., Any]] = {
    "__builtin__.set": set,  # builtins.set, by the name that pickles of protocol 2 give it
    "collections.OrderedDict": OrderedDict,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
