"""One fusion point as its costs see it, torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from fila_lab.config.run import RunConfig


@dataclass(frozen=True)
class Site:
    """One fusion point on one canvas.

    channels, window: of the stage, and its cells a token; coarser: the same of the stages above it; tiles: of an image, the overview
    among them; rows, cols: of the canvas's; moving: tokens ask for gradients, because something trainable has touched them; seen: the map
    asks for gradients.
    """

    config: RunConfig
    channels: int
    window: int
    coarser: tuple[tuple[int, int], ...]
    tiles: int
    rows: int
    cols: int
    moving: bool
    seen: bool

    @property
    def tokens(self) -> int:
        """Of an image, the overview's among them."""
        return self.tiles * self.place

    @property
    def width(self) -> int:
        """Of the ViT."""
        return self.config.vit.width

    @property
    def hidden(self) -> int:
        """The fusion's hidden width."""
        return self.config.fusion.hidden or self.config.vit.width

    @property
    def place(self) -> int:
        """Tokens of a tile."""
        return self.config.geometry.grid**2

    @property
    def offsets(self) -> int:
        """Places a token of a tile can have relative to another."""
        return (2 * self.config.geometry.grid - 1) ** 2
