"""What is measured, by name: bare calls, arms, arrangements; and a watch on the time an arm spends in its fusions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from benchmarks.arrangements import ARRANGEMENTS
from benchmarks.scene import Scene
from fila_lab.config.fusion import Reach
from fila_lab.config.strategies import WITHOUT_MAP
from fila_lab.modeling import HybridEncoder

ARMS = ("none", "concat", "concat_ungated", "addition", "cross_attention")
BARE = ("bare ViT", "bare ConvNeXt")
RIVALS: dict[str, dict[str, str]] = {
    **{
        name + ("" if reach == "canvas" else f", reach {reach}"): {"arm": name, "reach": reach}
        for name in ("cross_tile", *WITHOUT_MAP)
        for reach in get_args(Reach)
    },
    "convnext_only": {"arm": "none", "handoff": "replace"},
}
"""Arms with one tower -> fields of the fusion: strategies that look at the ViT's tokens alone, their twins, the ConvNeXt by itself."""
COMPILED = ", compiled"
"""Behind an arm's name: with towers compiled by region."""
QUICK = ("none", "concat", "cross_attention")
"""What --quick leaves of the arms; it has no arrangements."""

Call = Callable[..., Any]


@dataclass
class Subject:
    """Something to measure. `inside` are the seconds of its last call that its fusions took (arms only)."""

    name: str
    call: Callable[[], Any]
    encoder: HybridEncoder | None = None
    inside: float = 0.0

    def watched(self) -> Subject:
        """Time what its fusions do: reading the maps they ask for, and themselves."""

        def around(function: Call) -> Call:
            def timed(*given: Any, **named: Any) -> Any:
                began = time.perf_counter()
                result = function(*given, **named)
                self.inside += time.perf_counter() - began
                return result

            return timed

        if self.encoder is not None:
            wrap_fusions(self.encoder, around)
        return self

    def seconds(self) -> float:
        """Seconds of one call; `inside` says how many of them were fusion."""
        self.inside = 0.0
        began = time.perf_counter()
        self.call()
        return time.perf_counter() - began


def wrap_fusions(encoder: HybridEncoder, around: Callable[[Call], Call]) -> None:
    """Put `around` about everything an encoder does for fusion: reading a stage as the fusion asks for it, and the fusion."""
    for fusion in encoder.fusions.values():
        fusion.forward = around(fusion.forward)
    make: Call = encoder.detail_maps

    def detail_maps(*given: Any, **named: Any) -> Any:
        maps = make(*given, **named)
        if maps is not None:
            maps.read = around(maps.read)
        return maps

    encoder.detail_maps = detail_maps  # type: ignore[method-assign]


def towers_of(name: str) -> tuple[str, ...]:
    """The bare calls of the towers that a subject has."""
    if name in BARE:
        return (name,)
    if name == "convnext_only":
        return BARE[1:]
    return BARE[:1] if name.removesuffix(COMPILED) == "none" or name in RIVALS else BARE


def subject(scene: Scene, name: str) -> Subject:
    """A bare call (also `bare`: both, their outputs kept), an arm, also compiled, a rival, or an arrangement, by name."""
    if name == "bare":
        return Subject(name, lambda: (scene.bare_vit(), scene.bare_convnext()))
    if name in BARE:
        return Subject(name, scene.bare_vit if name == "bare ViT" else scene.bare_convnext)
    if (arm := name.removesuffix(COMPILED)) in ARMS:
        encoder = (scene if arm == name else scene.compiled).encoder(arm)
        return Subject(name, lambda: scene.encode(encoder), encoder)
    if name in RIVALS:
        encoder = scene.encoder(**RIVALS[name])
        return Subject(name, lambda: scene.encode(encoder), encoder)
    arrangement = ARRANGEMENTS[name](scene).eval()
    return Subject(name, lambda: arrangement(scene))
