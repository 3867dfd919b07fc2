"""The suite `entity_grid`: entities at nine places of a blank page that is cut into 2 x 2 tiles."""

from fila_lab.data.entity_grid.suite import EntityGrid, open_entity_grid

__all__ = ["EntityGrid", "open_entity_grid"]
