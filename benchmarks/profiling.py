"""What bounds an arm: the operators its time goes to, within its fusions or within the whole call."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from benchmarks.scene import Scene
from benchmarks.subjects import Call, Subject, wrap_fusions
from fila_lab.modeling.precision import autocast

Operators = list[tuple[str, float]]
"""(operator with its input shapes, share of the profiled time), greatest first."""


def fusion_operators(scene: Scene, arm: str, precision: str, top: int = 8) -> Operators:
    """Operators of all fusion points of an arm."""
    times: Counter[str] = Counter()
    encoder = scene.encoder(arm)

    def around(function: Call) -> Call:
        def profiled(*given: Any, **named: Any) -> Any:
            with _profiler() as profile:
                result = function(*given, **named)
            times.update(_times(profile))
            return result

        return profiled

    wrap_fusions(encoder, around)
    with torch.inference_mode(), autocast(precision):
        scene.encode(encoder)
    return _shares(times, top)


def call_operators(one: Subject, precision: str, top: int = 8) -> Operators:
    """Operators of a whole call."""
    with torch.inference_mode(), autocast(precision), _profiler() as profile:
        one.call()
    return _shares(Counter(_times(profile)), top)


def _profiler() -> torch.profiler.profile:
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)


def _times(profile: torch.profiler.profile) -> dict[str, float]:
    times: Counter[str] = Counter()
    for event in profile.key_averages(group_by_input_shape=True):
        shapes = " x ".join(str(list(shape)) for shape in event.input_shapes[:2] if shape)
        times[f"{event.key.removeprefix('aten::')} {shapes}"] += event.self_cpu_time_total
    return dict(times)


def _shares(times: Counter[str], top: int) -> Operators:
    total = sum(times.values())
    return [(name, value / total) for name, value in times.most_common(top)]
