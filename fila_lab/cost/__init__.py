"""What an arm costs, measured on its real classes with random weights: parameters, FLOPs, latency, peak memory."""

from fila_lab.cost.count import count_flops, count_parameters
from fila_lab.cost.latency import forward_seconds
from fila_lab.cost.measure import measure_arms
from fila_lab.cost.subject import build_subject, largest_canvas, synthetic_batch

__all__ = [
    "build_subject",
    "count_flops",
    "count_parameters",
    "forward_seconds",
    "largest_canvas",
    "measure_arms",
    "synthetic_batch",
]
