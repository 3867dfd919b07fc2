"""How peers arrange the same work, re-stated plainly for measuring: what they do to tensors, in our words, none of their code.

Each is a module called with a Scene. They stand on the same towers and pixels as the arms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.scene import Scene
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import normalise
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import FusionContext


class TileLoop(nn.Module):
    """The work of `concat`, one tile at a time through the ViT, every tile's cells split out. Equal to the arm's tokens."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.encoder = scene.encoder("concat")

    def forward(self, scene: Scene) -> Tensor:
        """-> [1 + rows*cols, g*g, D]"""
        maps = self._split(scene.convnext(scene.detail), scene.rows, scene.cols)
        return torch.cat([self._tile(pixels[None], maps, index) for index, pixels in enumerate(scene.pixels)])

    def _split(self, stages: list[Tensor], rows: int, cols: int) -> DetailMaps:
        return DetailMaps(stages, self.encoder.cells, TileLayout.side_by_side(self.encoder.grid, rows, cols))

    def _tile(self, pixels: Tensor, maps: DetailMaps, index: int) -> Tensor:
        cells = {stage: maps.tiles(stage)[[index]] for stage, _ in self.encoder.fusion_points}
        return self._fused(pixels, cells, {stage: maps.context(stage) for stage in cells})

    def _fused(self, pixels: Tensor, cells: dict[int, Tensor], contexts: dict[int, FusionContext]) -> Tensor:
        """Normalised pixels [N, 3, T, T] and each stage's cells [N, C, h, w] -> patch tokens [N, g*g, D]."""
        vit, stages = self.encoder.vit, {layer: stage for stage, layer in self.encoder.fusion_points}
        assert vit is not None
        tokens = vit.embed(pixels)
        for layer in range(1, vit.n_used + 1):
            tokens = vit.block(layer - 1, tokens)
            if layer in stages:
                stage = stages[layer]
                patches = self.encoder.fusions[str(layer)](tokens[:, 1:], cells[stage], contexts[stage]).tokens
                tokens = torch.cat([tokens[:, :1], patches], dim=1)
        return vit.features(tokens)


class SeparateOverview(TileLoop):
    """The work of `concat`, the overview in passes of its own: one of the ViT, and one of the ConvNeXt on the enlarged overview."""

    def forward(self, scene: Scene) -> Tensor:
        """-> [1 + rows*cols, g*g, D]"""
        side = 32 * scene.config.geometry.cells_a_side
        assert scene.batch.overview is not None
        overview = F.interpolate(normalise(scene.batch.overview), size=(side, side), mode="bilinear", align_corners=False)
        first = self._pass(scene.pixels[:1], self._split(scene.convnext(overview), 1, 1))
        rest = self._pass(scene.pixels[1:], self._split(scene.convnext(scene.detail), scene.rows, scene.cols))
        return torch.cat([first, rest])

    def _pass(self, pixels: Tensor, maps: DetailMaps) -> Tensor:
        cells = {stage: maps.tiles(stage)[1:] for stage, _ in self.encoder.fusion_points}
        return self._fused(pixels, cells, {stage: maps.context(stage) for stage in cells})


class ResizeAndConcat(nn.Module):
    """EAGLE: after the towers, every map is resized to one grid, joined along the channels and mixed by an MLP."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        width, channels = scene.config.vit.width, scene.config.convnext.dims[3]
        self.mix = nn.Sequential(nn.Linear(width + channels, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, scene: Scene) -> Tensor:
        """-> [1 + rows*cols, g*g, D]"""
        grid, rows, cols = scene.config.geometry.grid, scene.rows, scene.cols
        detail = scene.convnext(scene.detail)[3]
        canvas = F.interpolate(detail, size=(rows * grid, cols * grid), mode="bilinear", align_corners=False)
        tiles = canvas.unflatten(2, (rows, grid)).unflatten(4, (cols, grid)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        overview = F.interpolate(detail, size=(grid, grid), mode="bilinear", align_corners=False)
        cells = torch.cat([overview, tiles]).flatten(2).transpose(1, 2)
        tokens = scene.vit(scene.pixels)
        return self.mix(torch.cat([tokens, cells.to(tokens.dtype)], dim=-1))


class UpsampleAndWindow(nn.Module):
    """Mini-Gemini HD: all stages are enlarged to the first one's size and joined; after the ViT each token attends to its own window of
    that map: norms and linear maps of query, keys and values, one head, added to the token. The overview gets the area-pooled map.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        width, channels = scene.config.vit.width, sum(scene.config.convnext.dims)
        self.query, self.key, self.value = (nn.Sequential(nn.LayerNorm(n), nn.Linear(n, width)) for n in (width, channels, channels))

    def forward(self, scene: Scene) -> Tensor:
        """-> [1 + rows*cols, g*g, D]"""
        tokens = scene.vit(scene.pixels)
        grid, rows, cols = scene.config.geometry.grid, scene.rows, scene.cols
        cells = self._windows(self._joined(scene, tokens), grid, rows, cols)  # [N, g*g, w*w, C]
        query = self.query(tokens)[:, :, None]  # [N, g*g, 1, D]
        scores = query @ self.key(cells).transpose(2, 3) / math.sqrt(query.shape[-1])
        return tokens + (scores.softmax(-1).to(query.dtype) @ self.value(cells))[:, :, 0].to(tokens.dtype)

    @staticmethod
    def _joined(scene: Scene, tokens: Tensor) -> Tensor:
        """[1, sum of C, H/4, W/4] in the type products run in."""
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else tokens.dtype
        maps = [stage.to(kind) for stage in scene.convnext(scene.detail)]
        return torch.cat([F.interpolate(m, size=maps[0].shape[-2:], mode="bilinear", align_corners=False) for m in maps], dim=1)

    @staticmethod
    def _windows(joined: Tensor, grid: int, rows: int, cols: int) -> Tensor:
        overview = F.avg_pool2d(joined, (rows, cols))
        parts = []
        for part, r, c in ((overview, 1, 1), (joined, rows, cols)):
            w = part.shape[2] // (r * grid)
            split = part.unflatten(2, (r, grid, w)).unflatten(5, (c, grid, w)).permute(0, 2, 5, 3, 6, 4, 7, 1)
            parts.append(split.reshape(r * c, grid * grid, w * w, part.shape[1]))
        return torch.cat(parts)


ARRANGEMENTS: dict[str, type[nn.Module]] = {
    "one tile at a time": TileLoop,
    "separate overview pass": SeparateOverview,
    "resize and concat after the ViT": ResizeAndConcat,
    "upsample and window": UpsampleAndWindow,
}
"""Name in the table -> the arrangement."""
