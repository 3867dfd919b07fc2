"""Fusion strategies by name: built in by decorator, from other packages by the entry-point group `fila_lab.fusions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.errors import mistakes
from fila_lab.config.fusion import Aggregate, Combine, Reach
from fila_lab.modeling.fusion.base import Fusion, FusionSpec

GROUP = "fila_lab.fusions"
Factory = Callable[[FusionSpec], Fusion]
F = TypeVar("F", bound=Factory)
_FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[F], F]:
    """Decorator: make a function or class that takes a FusionSpec available under `name`."""

    def add(factory: F) -> F:
        if name in _FACTORIES and _FACTORIES[name] is not factory:
            raise FilaError(f"fusion {name!r} is registered twice; give one of the strategies another name")
        _FACTORIES[name] = factory
        return factory

    return add


def available() -> tuple[str, ...]:
    """All names, sorted, those of installed packages included (which are not imported for it)."""
    return tuple(sorted({*_FACTORIES, *(point.name for point in entry_points(group=GROUP))}))


def create(
    name: str,
    *,
    token_width: int,
    detail_width: int,
    grid: int,
    cells: int,
    hidden: int | None = None,
    heads: int = 4,
    aggregate: Aggregate | None = None,
    combine: Combine | None = None,
    gate: bool | None = None,
    coarser: tuple[tuple[int, int], ...] = (),
    reach: Reach = "canvas",
    options: Mapping[str, Any] | None = None,
) -> Fusion:
    """A fusion for one fusion point.

    token_width: ViT width; detail_width: channels of the stage; grid: tokens per tile side; cells: the stage's cells per tile side;
    hidden: hidden width (None: the ViT width); aggregate, combine, gate override the strategy's own factors; coarser: (detail width, cells)
    of the stages above; reach: `tile` for the strategy's twin; options: its own.
    Raises FilaError for an unknown name, factors, options or a reach that the strategy does not have, or heads that do not divide the
    hidden width.
    """
    factory = _factory(name)
    own = _options(name, factory, options or {})
    spec = FusionSpec(token_width, detail_width, grid, cells, hidden or token_width, heads, aggregate, combine, gate, coarser, reach, own)
    fusion = factory(spec)
    if reach == "tile" and not fusion.reaches:
        raise FilaError(f"fusion.reach='tile' has no meaning with fusion.name={name!r}, which never looks across a seam; leave it out")
    return fusion


def _options(name: str, factory: Factory, given: Mapping[str, Any]) -> BaseModel | None:
    model: type[BaseModel] | None = getattr(factory, "options", None)
    if model is None:
        if given:
            raise FilaError(f"fusion.options={dict(given)!r} has no meaning with fusion.name={name!r}, which has none; leave it out")
        return None
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise FilaError(f"fusion.options: {mistakes(error, model)[0]}") from None


def _factory(name: str) -> Factory:
    if name not in _FACTORIES:
        for point in entry_points(group=GROUP):
            if point.name == name:
                try:
                    factory = point.load()
                except Exception as error:
                    raise FilaError(
                        f"fusion.name={name!r}: the entry point {point.value!r} does not load ({error}); repair that package"
                    ) from error
                _FACTORIES.setdefault(name, factory)
    if name not in _FACTORIES:
        raise FilaError(f"fusion.name={name!r} is unknown{did_you_mean(name, available())}; choose {', '.join(available())}")
    return _FACTORIES[name]
