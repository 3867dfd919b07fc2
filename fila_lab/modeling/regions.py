"""Regional compilation (`runtime.compile`): parts of the towers that repeat go through torch.compile, one graph for all that are alike.

Never the whole model: the fused code of one ViT layer serves all of them after seconds, fusions, controls and hooks stay plain Python, and
parameters keep their names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

GRAPHS_AT_MOST = 64
"""Of one tower under one attention backend: parts of different shapes, each with and without gradients, in training and in evaluation, for
one image and for many. Beyond it torch raises; it never goes on without compiling, which would change the last bits half way."""


def run(part: nn.Module, given: Tensor) -> Tensor:
    """What is compiled: a part of a tower, called. Its weights are inputs of the graph, so parts of equal shapes share it."""
    return part(given)


class Regions:
    """Calls parts of one tower, compiled on their first call.

    What is compiled depends on nothing that came before: sizes are symbols from the first call on, and no graph is shared with another
    model of this process. A cell's numbers thus follow from its configuration, whichever cell ran before it and wherever it was cut off.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """backend: as torch.compile takes it."""
        self._backend = backend
        self._compiled: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {}

    def __call__(self, part: nn.Module, given: Tensor, attention: str = "") -> Tensor:
        """`part(given)`. attention: the backend in effect, which a graph is made for and torch does not check again."""
        if attention not in self._compiled:
            self._compiled[attention] = compiled_apart(self._backend)
        return self._compiled[attention](part, given)


def compiled_apart(backend: str | Callable[..., Any]) -> Callable[[nn.Module, Tensor], Tensor]:
    """`run`, compiled; no other compiled `run` of this process shares its graphs.

    A torch whose compile does not know `isolate_recompiles` keeps graphs by code object alone: there each has one of its own.
    """
    told: dict[str, Any] = {"fullgraph": True, "dynamic": True, "backend": backend}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        told |= {"recompile_limit": GRAPHS_AT_MOST, "isolate_recompiles": True}
        return torch.compile(run, **told)
    own = torch.compile(FunctionType(run.__code__.replace(), run.__globals__, run.__name__), **told)

    def limited(part: nn.Module, given: Tensor) -> Tensor:
        with torch._dynamo.config.patch(recompile_limit=GRAPHS_AT_MOST):
            return own(part, given)

    return limited
