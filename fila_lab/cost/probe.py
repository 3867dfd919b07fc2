"""Where the components of a model begin and end while it runs, so that one pass of the whole tells what each costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from fila_lab.config.fusion_points import component_name
from fila_lab.modeling import FilaModel
from fila_lab.modeling.detail import DetailMaps

Probe = Callable[[str], AbstractContextManager[Any]]
"""Called with a component's name each time one is entered; the component runs inside."""
VIT, CONVNEXT, PROJECTOR, LANGUAGE, NEW_TOKEN = "vit", "convnext", "projector", "language prefill", "language new token"
OTHER = "other"
"""What lies between the components: pixels to floats, tiles put in raster order, embedding of the text."""


def component_modules(model: FilaModel) -> dict[str, list[nn.Module]]:
    """Component -> the modules whose parameters are its own; where nothing looks at a detail map there is no ConvNeXt, where its means take
    the place of all other tokens no ViT."""
    encoder = model.encoder
    modules: dict[str, list[nn.Module]] = {} if encoder.vit is None else {VIT: [encoder.vit]}
    if encoder.convnext is not None:
        modules[CONVNEXT] = [encoder.convnext]
    for stage, layer in encoder.fusion_points:
        modules[component_name(stage, layer)] = [encoder.fusion_at(stage, layer)]
    handoff = [] if model.handoff is None else [model.handoff]
    return {**modules, PROJECTOR: [model.projector, model.separator, *handoff], LANGUAGE: [model.language]}


@contextmanager
def probed(model: FilaModel, probe: Probe) -> Iterator[None]:
    """Inside, every entry of a component of `model` runs within `probe(name)`. Components do not nest."""

    def fusion(point: tuple[int, int], tokens: Tensor, details: DetailMaps, fuse: Callable[[], Tensor]) -> Tensor:
        with probe(component_name(*point)):
            return fuse()

    wrapped: list[tuple[object, str]] = []
    try:
        for owner, attribute, name in _entries(model):
            object.__setattr__(owner, attribute, _within(probe, name, getattr(owner, attribute)))
            wrapped.append((owner, attribute))
        with model.encoder.around_fusion(fusion):
            yield
    finally:
        for owner, attribute in wrapped:
            object.__delattr__(owner, attribute)


def _entries(model: FilaModel) -> Iterable[tuple[object, str, str]]:
    """(owner, method, component)."""
    encoder = model.encoder
    if encoder.vit is not None:
        yield from ((encoder.vit, method, VIT) for method in ("embed", "block", "features"))
    if encoder.convnext is not None:
        yield encoder.convnext, "forward", CONVNEXT
    yield model.projector, "forward", PROJECTOR
    yield model.separator, "forward", PROJECTOR
    if model.handoff is not None:
        yield model.handoff, "forward", PROJECTOR
    yield model.language.model, "forward", LANGUAGE
    yield model.language.lm_head, "forward", LANGUAGE


def _within(probe: Probe, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        with probe(name):
            return method(*args, **kwargs)

    return run
