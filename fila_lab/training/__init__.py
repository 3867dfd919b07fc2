"""FilaModule, the frozen-feature cache, and the one function that runs a cell."""

from fila_lab.training.cell import CellOutcome, prepare_caches, run_cell
from fila_lab.training.data_module import FilaData
from fila_lab.training.module import FilaModule
from fila_lab.training.shared_stages import train_shared

__all__ = ["CellOutcome", "FilaData", "FilaModule", "prepare_caches", "run_cell", "train_shared"]
