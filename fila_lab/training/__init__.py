"""FilaModule, the frozen-feature cache, and the one function that runs a cell."""

from fila_lab.training.cell import CellOutcome, prepare_caches, run_cell
from fila_lab.training.data_module import FilaData
from fila_lab.training.module import FilaModule

__all__ = ["CellOutcome", "FilaData", "FilaModule", "prepare_caches", "run_cell"]
