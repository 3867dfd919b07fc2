"""Task families, one a file, behind one contract."""

from fila_lab.data.seam.tasks import attribute, chart, coarse, counting, document, presence, reading, spatial, table
from fila_lab.data.seam.tasks.base import FAMILIES, Draft, Family, get_family, register

__all__ = [
    "FAMILIES",
    "Draft",
    "Family",
    "attribute",
    "chart",
    "coarse",
    "counting",
    "document",
    "get_family",
    "presence",
    "reading",
    "register",
    "spatial",
    "table",
]
