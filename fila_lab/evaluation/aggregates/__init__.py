"""From scored rows to the figures of a benchmark, by name: `AGGREGATES["mme"](scored)`; `aggregate` does all of it."""

from fila_lab.evaluation.aggregates import entity_grid, means, mmbench, mme, ocrbench, pope
from fila_lab.evaluation.aggregates.base import AGGREGATES, Aggregate, Scored, register_aggregate

__all__ = ["AGGREGATES", "Aggregate", "Scored", "entity_grid", "means", "mmbench", "mme", "ocrbench", "pope", "register_aggregate"]
