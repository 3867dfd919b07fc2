"""The laboratory's own models: a saved folder's image processor carries the run, and with it the geometry."""

from __future__ import annotations

from typing import Any

from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.tiling import most_tiles
from fila_lab.hub.audit.tilings.base import Settings, Tiling
from fila_lab.imaging import Geometry


class Fila(Tiling):
    """Canvases as a run has them; the overview comes first."""

    name = "fila"

    def __init__(self, config: GeometryConfig, patch: int) -> None:
        super().__init__(config.tile, patch)
        self.config = config

    @classmethod
    def of(cls, settings: Settings, config: Any) -> Fila:
        run = settings.images.run_config
        if run.geometry.tiling.overlap:
            raise settings.unusable("tiles overlap, so that what one cuts another shows whole")
        if not run.geometry.tiling.one_grid:
            raise settings.unusable("the canvas is seen more than once, or by strided tiles, so that what one cuts another shows whole")
        return cls(run.geometry, run.geometry.patch * run.projector.side)

    def geometry(self, size: Size) -> Geometry:
        return Geometry.of(*size, self.config)

    def crops(self, geometry: Geometry) -> int:
        return 1 + most_tiles(self.config)  # what an image does not fill is nothing

    def tiles(self, geometry: Geometry) -> slice:
        return slice(1, 1 + geometry.tiles)
