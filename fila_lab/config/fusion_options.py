"""What single strategies have beside the factors: their own models of options, read from `fusion.options`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fila_lab.config.base import Positive, Strict, Whole


class SliceRestoreOptions(Strict):
    """Of `slice_restore`."""

    parts: Literal["both", "local", "pooled"] = Field(
        default="both", description="local: the convolution alone, what lies beside a seam; pooled: the attention alone, the canvas's gist"
    )
    pooled: Positive | None = Field(default=None, description="pooled cells a tile side that attend; null is half the tokens, rounded up")

    def pooled_side(self, grid: int) -> int:
        """Pooled cells a side of a tile of grid x grid tokens.

        Raises:
            ValueError: more cells than tokens.
        """
        if self.pooled is not None and self.pooled > grid:
            raise ValueError(f"pooled = {self.pooled} is more than the {grid} tokens of a tile's side; choose at most {grid}")
        return self.pooled or (grid + 1) // 2


class ShiftedWindowOptions(Strict):
    """Of `shifted_window`."""

    placement: Literal["mid_seam", "textmonkey"] = Field(
        default="mid_seam",
        description="mid_seam: every seam lies mid-window; textmonkey: windows of 12 tokens from the sixth on, wherever seams are",
    )
    window: Whole | None = Field(
        default=None, ge=2, description="tokens a window's side, even; null is half the tile's, rounded to an even number (mid_seam)"
    )


class TileSummaryOptions(Strict):
    """Of `tile_summary`."""

    summaries: Positive = Field(default=4, description="of each tile")


DIRECTIONS = 11
"""Where a tile lies whose summary `tile_summary` reads: in one of 3 x 3 directions, the own place among them; from the overview: a tile, or
itself."""

OPTIONS: dict[str, type[Strict]] = {
    "slice_restore": SliceRestoreOptions,
    "shifted_window": ShiftedWindowOptions,
    "tile_summary": TileSummaryOptions,
}
"""Built-in strategy -> its options; the others have none."""
