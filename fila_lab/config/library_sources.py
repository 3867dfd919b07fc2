"""What stands in the source files of installed libraries, read as syntax: importing them would import torch.

Where a source is not laid out as it is read here, nothing is found.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def library_folder(library: str) -> Path | None:
    """Where a library's package lies; None where it is not installed."""
    spec = find_spec(library)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@functools.cache
def syntax(library: str, name: str) -> ast.Module | None:
    """A source file of a library as syntax; None where it cannot be read."""
    folder = library_folder(library)
    try:
        return ast.parse((folder / name).read_text(encoding="utf-8")) if folder is not None else None
    except (OSError, ValueError, SyntaxError):
        return None


def assigned(library: str, name: str) -> Iterator[tuple[str, ast.expr]]:
    """Names that a source assigns at its top level, and the expressions."""
    tree = syntax(library, name)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def entries(value: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """Keys and values of `{"a": x}` or `dict(a=x)`."""
    if isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, entry
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict":
        yield from arguments(value)


def arguments(call: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """Keyword arguments of a call, unevaluated."""
    if isinstance(call, ast.Call):
        yield from ((word.arg, word.value) for word in call.keywords if word.arg is not None)


def constant(node: ast.expr | None) -> Any:
    """The value of a literal; of `kwargs.pop("name", value)` the value that stands where nobody gives another. None where it is none."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and len(node.args) == 2:
        node = node.args[1]
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
