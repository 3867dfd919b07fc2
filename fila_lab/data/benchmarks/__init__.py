"""Public benchmarks and users' own: files as they are published, read by definitions (config/benchmarks) rather than by code."""

from functools import partial

from fila_lab.config.benchmark import benchmark_names
from fila_lab.data.benchmarks.suite import BenchmarkOptions, BenchmarkSuite, open_benchmark
from fila_lab.data.suite import register_suite

for _name in benchmark_names():
    register_suite(_name)(partial(open_benchmark, _name))

__all__ = ["BenchmarkOptions", "BenchmarkSuite", "open_benchmark"]
