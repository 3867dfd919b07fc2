"""Whether this machine can do what the laboratory does: every part looked at as it is used, each finding with its remedy."""

from fila_lab.studies.doctor.examine import PARTS, examine
from fila_lab.studies.doctor.finding import Finding, State

__all__ = ["PARTS", "Finding", "State", "examine"]
