"""Detail maps: the whole canvas first, split per tile second; and the controls, which spoil them on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config.tiling import TileLayout
from fila_lab.modeling.fusion.base import FusionContext, Reads, window_side
from fila_lab.modeling.projector import raster
from fila_lab.modeling.resample import resample
from fila_lab.modeling.seeds import component_seed


@dataclass
class DetailMaps:
    """A batch's four stage maps, split per tile when first asked for.

    maps: stage maps of whole canvases, [B, C_s, H_s, W_s]; cells: nominal cells per tile side of each stage (8k, 4k, 2k, k);
    operator: how a map that does not divide into the token grid is resampled to it: on the whole canvas, so that no seam arises;
    layout: where the tiles lie: an overlapping tile gets its own window of the map, a strided one every n-th cell of it, as it gets every
    n-th pixel, and those of a second grid windows of the map resampled to that grid, as its canvas shows the first one's;
    turns: int64 [B], for the control random_window: how far each image's tiles hand their maps on, see `scrambled`.
    """

    maps: Sequence[Tensor]
    cells: Sequence[int]
    layout: TileLayout
    operator: str = "area"
    turns: Tensor | None = None
    _tiles: dict[int, Tensor] = field(default_factory=dict)

    @property
    def grid(self) -> int:
        """g: tokens a tile side."""
        return self.layout.grid

    @property
    def rows(self) -> int:
        """Tiles down, of the first grid."""
        return self.layout.rows

    @property
    def cols(self) -> int:
        """Tiles across, of the first grid."""
        return self.layout.cols

    def tiles(self, stage: int) -> Tensor:
        """Stage 1-4 of every tile, [B * (1 + n), C, g*w, g*w], image by image, the overview (the whole map, area-pooled) first."""
        if stage not in self._tiles:
            self._tiles[stage] = self._handed(self._split(stage)).flatten(0, 1)
        return self._tiles[stage]

    def windows(self, stage: int, dtype: torch.dtype) -> Tensor:
        """Each token's own window of cells, [B * (1 + n), g, g, w*w, C], tiles as in `tiles`; one copy, which converts."""
        if stage in self._tiles or self.layout.overlapping or self.layout.strided or self.layout.further:
            return split_windows(self.tiles(stage), 1, 1, self.grid, dtype)[:, 1]
        split = split_windows(self._whole(stage, self.layout), self.rows, self.cols, self.grid, dtype)
        return self._handed(split).flatten(0, 1)

    def means(self, stage: int) -> Tensor:
        """The mean of each token's own window, [B * (1 + n), C, g, g], tiles as in `tiles`: pooled first, split second."""
        if stage in self._tiles:
            return F.avg_pool2d(self._tiles[stage], window_side(self.cells[stage - 1], self.grid))
        return self._handed(self._split(stage, means=True)).flatten(0, 1)

    def read(self, reads: Reads, stage: int, dtype: torch.dtype) -> Tensor:
        """A stage of every tile in the form a fusion asks for; `windows` in `dtype`."""
        if reads == "nothing":
            return self.maps[stage - 1].new_empty(len(self.maps[stage - 1]) * (1 + self.layout.tiles), 0, self.grid, self.grid)
        if reads == "means":
            return self.means(stage)
        return self.windows(stage, dtype) if reads == "windows" else self.tiles(stage)

    def _whole(self, stage: int, grid: TileLayout) -> Tensor:
        """A stage of whole canvases, resampled to whole cells per token of a grid, [B, C, H*w, W*w]."""
        window = window_side(self.cells[stage - 1], self.grid)
        across, down = grid.size
        return resample(self.maps[stage - 1], (down * window, across * window), self.operator)

    def _handed(self, tiles: Tensor) -> Tensor:
        """[B, n, ...]: each tile with its own part of the map, or under random_window with another's."""
        return tiles if self.turns is None else scrambled(tiles, self.turns)

    def _split(self, stage: int, means: bool = False) -> Tensor:
        """A stage as overview and tiles, [B, 1 + n, C, s, s]; means: of each token's window, pooled first where a window's cells stand side
        by side."""
        first, *further = (self._grid_tiles(stage, grid, means) for grid in self.layout.grids)
        return torch.cat([first, *(tiles[:, 1:] for tiles in further)], dim=1) if further else first

    def _grid_tiles(self, stage: int, grid: TileLayout, means: bool) -> Tensor:
        """The same of one grid, with the overview."""
        window = window_side(self.cells[stage - 1], self.grid) if means else 1
        whole = self._whole(stage, grid)
        if grid.strided:
            tiles = strided_tiles(whole, grid.rows, grid.cols)
            return F.avg_pool2d(tiles.flatten(0, 1), window).unflatten(0, tiles.shape[:2]) if window > 1 else tiles
        whole = F.avg_pool2d(whole, window) if window > 1 else whole
        return overlapping_tiles(whole, grid) if grid.overlapping else split_tiles(whole, grid.rows, grid.cols)

    def replace(self, stage: int, tiles: Tensor) -> None:
        """A fusion changed a stage's map; later fusion points see the change."""
        self._tiles[stage] = tiles

    @classmethod
    def nothing(cls, images: int, device: torch.device, cells: Sequence[int], layout: TileLayout) -> DetailMaps:
        """Maps without channels, for fusions that look at none: they know where tiles lie all the same."""
        return cls([torch.empty(images, 0, 1, 1, device=device)] * len(cells), cells, layout)

    def visual_means(self, stage: int) -> Tensor:
        """The mean of each token's own window, in the order and choice of the visual tokens (`raster`): [B, g*g + rows*g*cols*g, C]."""
        means = self.means(stage).flatten(2).transpose(1, 2).unflatten(0, (-1, 1 + self.layout.tiles))
        return raster(means, self.layout)

    def canvas_means(self, stage: int) -> Tensor:
        """The same without the overview's: [B, rows*g*cols*g, C]."""
        return self.visual_means(stage)[:, self.grid**2 :]

    def context(self, stage: int, read_again: bool = True) -> FusionContext:
        """What a fusion at this stage is told; `read_again`: whether anything reads the stage's map after it."""
        images, device = len(self.maps[stage - 1]), self.maps[stage - 1].device
        overview = torch.tensor([-1], device=device)
        inside = [(torch.arange(grid.rows * grid.cols, device=device), grid.cols) for grid in self.layout.grids]
        return FusionContext(
            grid=self.grid,
            rows=self.rows,
            cols=self.cols,
            stage=stage,
            image=torch.arange(images, device=device).repeat_interleave(self.layout.tiles + 1),
            row=torch.cat([overview, *(tile // cols for tile, cols in inside)]).repeat(images),
            col=torch.cat([overview, *(tile % cols for tile, cols in inside)]).repeat(images),
            stage_map=self.tiles,
            stage_windows=self.windows,
            read_again=read_again,
        )


def split_tiles(detail: Tensor, rows: int, cols: int) -> Tensor:
    """A whole canvas's map [B, C, rows*s, cols*s] -> [B, 1 + rows*cols, C, s, s]: the whole map area-pooled to one tile,
    then the tiles in raster order.
    """
    images, channels, height, _ = detail.shape
    side = height // rows
    inside = (
        detail.view(images, channels, rows, side, cols, side).permute(0, 2, 4, 1, 3, 5).reshape(images, rows * cols, channels, side, side)
    )
    return torch.cat([area_pooled(detail, rows, cols)[:, None], inside], dim=1)


def overlapping_tiles(detail: Tensor, layout: TileLayout) -> Tensor:
    """A whole canvas's map [B, C, H*w, W*w], w cells per token -> [B, 1 + rows*cols, C, g*w, g*w], in the order of `split_tiles`."""
    w, side = detail.shape[-1] // layout.size[0], layout.grid
    across, down = (tokens // side for tokens in layout.size)
    inside = [detail[..., y * w : (y + side) * w, x * w : (x + side) * w] for y in layout.starts_y for x in layout.starts_x]
    return torch.stack([area_pooled(detail, down, across), *inside], dim=1)


def strided_tiles(detail: Tensor, rows: int, cols: int) -> Tensor:
    """A whole canvas's map [B, C, rows*s, cols*s] -> [B, 1 + rows*cols, C, s, s], in the order of `split_tiles`: tile (a, b) has every
    cols-th cell from the a-th and every rows-th from the b-th. A token's window lies in what the token shows, and no cell in two tiles."""
    inside = [detail[..., row::rows, col::cols] for row in range(rows) for col in range(cols)]
    return torch.stack([area_pooled(detail, rows, cols), *inside], dim=1)


def split_windows(detail: Tensor, rows: int, cols: int, grid: int, dtype: torch.dtype) -> Tensor:
    """A whole canvas's map [B, C, rows*g*w, cols*g*w] -> [B, 1 + rows*cols, g, g, w*w, C]: each token's own cells in raster order,
    tiles as in `split_tiles`. Every cell is copied once, into `dtype`; channels or cells come last in memory, as in the map, so that
    runs are copied, not single values.
    """
    images, channels, height, _ = detail.shape
    w, n = height // rows // grid, 1 + rows * cols
    last = (w * w, channels) if detail.stride(1) == 1 else (channels, w * w)
    windows = detail.new_empty((images, n, grid, grid, *last), dtype=dtype)
    if detail.stride(1) != 1:
        windows = windows.transpose(4, 5)
    for first, (r, c), part in ((0, (1, 1), area_pooled(detail, rows, cols)), (1, (rows, cols), detail)):
        cells = part.unflatten(2, (r, grid, w)).unflatten(5, (c, grid, w)).permute(0, 2, 5, 3, 6, 4, 7, 1)  # [B, r, c, g, g, w, w, C]
        windows[:, first : first + r * c].unflatten(1, (r, c)).unflatten(5, (w, w)).copy_(cells)
    return windows


def area_pooled(detail: Tensor, rows: int, cols: int) -> Tensor:
    """[B, C, rows*s, cols*s] -> means of rows x cols cells, [B, C, s, s].

    By adding slices, a third of avg_pool2d's time, except where channels lie last in memory: a sixth of theirs.
    """
    if detail.stride(1) == 1:
        return F.avg_pool2d(detail, (rows, cols))
    for count, axis in ((rows, 2), (cols, 3)):
        if count == 1:
            continue
        groups = detail.unflatten(axis, (-1, count)).unbind(axis + 1)
        detail = _sum(groups) / count
    return detail


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def spoil(maps: Sequence[Tensor], control: str | None, shift: int) -> list[Tensor]:
    """The controls that act on whole maps [B, C, H, W].

    shifted: moved cyclically along both axes by `shift` stage-4 cells, the same distance in every stage.
    shuffled: stage-4 cells, with the finer cells in them, change places by one permutation for each size of map, see `shuffled`.
    constant: every cell holds the map's mean.
    (`foreign` is not made here: the data hand over another item's maps, so that it does not depend on how items are batched; nor is
    `blank`, which looks at none.)
    """
    if control == "shifted":
        steps = [shift * 2 ** (3 - stage) for stage in range(4)]
        return [m.roll((step, step), (-2, -1)) for m, step in zip(maps, steps, strict=True)]
    if control == "shuffled":
        rows, cols = maps[3].shape[-2:]
        return [shuffled(m, (rows, cols)) for m in maps]
    if control == "constant":
        return [m.mean((-2, -1), keepdim=True).expand_as(m) for m in maps]
    return list(maps)


def blank_maps(images: int, widths: Sequence[int], sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
    """The control blank: stage maps [B, C_s, H_s, W_s], bfloat16 as the cache's, whose cells all hold one vector, drawn once for all runs.

    Nothing of any page is in them, so what a fusion gains over none is the work of its parameters alone. Standard normal channels rather
    than zeros, which would leave every weight that reads the map without a gradient.
    """
    maps = []
    for stage, (channels, size) in enumerate(zip(widths, sizes, strict=True), 1):
        draw = torch.Generator().manual_seed(component_seed(stage, "blank"))
        cell = torch.randn(channels, generator=draw).to(device, torch.bfloat16)
        maps.append(cell.view(1, -1, 1, 1).expand(images, -1, *size))
    return maps


def shuffled(detail: Tensor, blocks: tuple[int, int]) -> Tensor:
    """[B, C, rows*h, cols*w] cut into `blocks` (rows, cols), which change places: for every item alike, in all stages alike.

    The permutation is a single random cycle, so that no block stays where it was, and depends on the number of blocks alone. It could be
    learned: the map still says everything, at the wrong token. `random_window` is the control in which place cannot be learned.
    """
    rows, cols = blocks
    order = torch.randperm(rows * cols, generator=torch.Generator().manual_seed(component_seed(0, "shuffled")))
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    cut = detail.unflatten(3, (cols, -1)).unflatten(2, (rows, -1)).permute(2, 4, 0, 1, 3, 5)  # [rows, cols, B, C, h, w]
    moved = cut.flatten(0, 1)[source.to(detail.device)].unflatten(0, (rows, cols))
    return moved.permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)


def scrambled(tiles: Tensor, turns: Tensor) -> Tensor:
    """The control random_window: [B, n, ...] with each tile given another tile's map of the same image, the overview included.

    The maps of an image are moved on by 1 + turn mod (n - 1) places, `turns` int64 [B] (`random_turns`), never negative.
    """
    images, n = tiles.shape[:2]
    step = 1 + turns % (n - 1)
    source = (torch.arange(n, device=tiles.device) + step[:, None]) % n
    return tiles[torch.arange(images, device=tiles.device)[:, None], source]


def random_turns(pixels: Tensor, seed: int) -> Tensor:
    """uint8 [B, ...] -> int64 [B], not negative: a hash of each image's own pixels and the seed.

    No fixed rearrangement that a model could learn to undo, no random state, and nothing of what else is in the batch. A sum of weighted
    pixels in whole numbers, which wrap around alike on every device; its upper bits, into which all lower ones are carried.
    """
    flat = pixels.flatten(1).long()
    draw = torch.Generator().manual_seed(component_seed(seed, "random_window"))
    weights = torch.randint(2**62, (flat.shape[1],), generator=draw)
    return ((flat * weights.to(flat.device)).sum(1) >> 32) & 0x7FFFFFFF
