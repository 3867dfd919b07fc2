"""The hybrid encoder: ViT on tiles and overview, ConvNeXt on the whole canvas, fusion at the fusion points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fila_lab.config.base import FilaError
from fila_lab.config.fusion_points import check_fusion_points, resolve_fusion_points
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import WHOLE, has_vit, map_channels, needs_map
from fila_lab.modeling import fusion as fusions
from fila_lab.modeling.attention import recomputing
from fila_lab.modeling.batch import VisionBatch
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.detail import DetailMaps, blank_maps, random_turns, spoil
from fila_lab.modeling.detail_input import stage_maps
from fila_lab.modeling.fusion.base import Fusion, product_dtype
from fila_lab.modeling.pixels import normalise
from fila_lab.modeling.projector import raster
from fila_lab.modeling.regions import Regions
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.vit import VitTower

FusionHook = Callable[[tuple[int, int], Tensor, DetailMaps, Callable[[], Tensor]], Tensor]
"""Given a fusion point (stage, after ViT layer), the tokens [N, 1 + g*g, D] that come to it, the detail maps, and the fusion as a call
without arguments: returns the tokens that go on. A fusion that is called may change the detail maps."""


class HybridEncoder(nn.Module):
    """Tiles, overview and detail maps -> visual tokens.

    All tiles of a batch go through the ViT in one call. The class token is not fused. With a frozen ViT nothing before the first
    fusion point records a gradient; with runtime.checkpointing the layers after it are computed again in backward. `convnext` may be
    None: for the baseline, for oracle and blank maps, and where cached maps are always given; `vit` where fusion.handoff=replace puts
    stage-4 means in the place of its tokens.
    """

    def __init__(self, config: RunConfig, vit: VitTower | None, convnext: ConvNextTower | None) -> None:
        super().__init__()
        self.config = config
        self.control = config.fusion.control
        self.grid = config.geometry.grid
        self.cells = tuple(config.geometry.cells_a_side * 2 ** (4 - stage) for stage in (1, 2, 3, 4))
        self.checkpointing = config.runtime.checkpointing
        self.vit = vit if has_vit(config) else None
        self.convnext = convnext
        if config.fusion.name == "none":
            self.fusion_points: tuple[tuple[int, int], ...] = ()
        else:
            check_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer)
            self.fusion_points = resolve_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer)
        self._hooks: list[FusionHook] = []
        self.fusions = nn.ModuleDict({self._key(*pair): self._fusion(*pair) for pair in self.fusion_points})

    def _key(self, stage: int, layer: int) -> str:
        """Name of the fusion at a fusion point: the layer's number, with the stage's where several stages share the layer."""
        shared = [pair for pair in self.fusion_points if pair[1] == layer]
        return str(layer) if len(shared) == 1 else f"{layer}_{stage}"

    def fusion_at(self, stage: int, layer: int) -> Fusion:
        """The fusion at one fusion point."""
        return self.fusions[self._key(stage, layer)]  # type: ignore[return-value]

    def _fusion(self, stage: int, layer: int) -> Fusion:
        config = self.config.fusion
        oracle = self.control == "oracle_map"
        widths = [map_channels(self.config, number) for number in (1, 2, 3, 4)]
        with component_rng(self.config.seed, f"fusion/{stage}/{layer}"):
            return fusions.create(
                config.name,
                token_width=self.config.vit.width,
                detail_width=widths[stage - 1],
                grid=self.grid,
                cells=self.cells[stage - 1],
                hidden=config.hidden,
                heads=config.heads,
                # the truth is in where a cell is, which a mean would lose
                aggregate="unfold" if oracle and config.name not in WHOLE else config.aggregate,
                combine=config.combine,
                gate=config.gate,
                coarser=tuple(zip(widths[stage:], self.cells[stage:], strict=True)),
                reach=config.reach,
                options=config.options,
            )

    def detail_maps(self, batch: VisionBatch) -> DetailMaps | None:
        """The four stage maps of whole canvases, from truth, cache, ConvNeXt or nothing, with the control applied (by the overview's
        pixels an image is known to it); None where none is needed."""
        if not needs_map(self.config):
            return None
        maps = spoil(self._stage_maps(batch), self.control, self.shift)
        turns = None
        if self.control == "random_window" and batch.overview is not None:
            turns = random_turns(batch.overview, self.config.seed)
        return DetailMaps(maps, self.cells, batch.layout, self.config.fusion.resample, turns)

    def _stage_maps(self, batch: VisionBatch) -> list[Tensor]:
        if self.control == "oracle_map":
            if batch.oracle is None:
                raise FilaError(
                    "fusion.control='oracle_map': the batch has no truth maps; only suites that render their items can give them"
                )
            return batch.oracle
        if self.control == "blank":
            assert batch.overview is not None  # `encode` refuses rows without images
            widths = [map_channels(self.config, stage) for stage in (1, 2, 3, 4)]
            sizes = [(batch.rows * cells, batch.cols * cells) for cells in self.cells]
            return blank_maps(len(batch), widths, sizes, batch.overview.device)
        if batch.maps is not None:
            return batch.maps
        if batch.detail is None or self.convnext is None:
            raise FilaError(
                "the batch has neither cached maps nor a detail input with a ConvNeXt to see it; prepare images with detail=True"
            )
        return stage_maps(self.convnext, batch.detail, self.config, batch.rows, batch.cols)

    @property
    def shift(self) -> int:
        """Cells by which the control `shifted` moves the maps: training and evaluation may differ."""
        fusion = self.config.fusion
        return fusion.shift if self.training or fusion.eval_shift is None else fusion.eval_shift

    def compile_towers(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """From now on compile the ViT layer by layer, with one graph for all layers, and the ConvNeXt stage by stage; parameters keep their
        names.

        backend: as torch.compile takes it.
        """
        if self.vit is not None:
            self.vit.regions = Regions(backend)
        if self.convnext is not None:
            self.convnext.regions = Regions(backend)

    def forward(self, batch: VisionBatch) -> Tensor:
        """Tokens alone, of `encode`."""
        return self.encode(batch)[0]

    def encode(self, batch: VisionBatch) -> tuple[Tensor, DetailMaps | None]:
        """[B, g*g + T, D_vit]: the overview's tokens, then the T of the canvas that the layout hands over, in raster order (of overlapping
        tiles each position once); and the detail maps as fusion left them. Without a ViT the tokens are the stage-4 map's means, [.., C].

        Raises:
            FilaError: rows without images, or without what the run's fusion reads.
        """
        if batch.tiles is None or batch.overview is None:
            raise FilaError("the encoder was given rows without images, of which there is nothing to see")
        details = self.detail_maps(batch)
        if self.vit is None:
            assert details is not None  # something is handed over
            return details.visual_means(4), details
        images = len(batch)
        pixels = normalise(torch.cat([batch.overview[:, None], batch.tiles], dim=1).flatten(0, 1), self.vit.dtype, self.vit.statistics)
        seen = details or DetailMaps.nothing(images, pixels.device, self.cells, batch.layout)
        tokens = self.vit.embed(pixels)
        for layer in range(1, self.vit.n_used + 1):
            if self.checkpointing and tokens.requires_grad:
                tokens = checkpoint(self.vit.block, layer - 1, tokens, use_reentrant=False, context_fn=recomputing)
            else:
                tokens = self.vit.block(layer - 1, tokens)
            for point in (point for point in self.fusion_points if point[1] == layer):
                fuse = partial(self._fuse, tokens, seen, *point)
                for hook in self._hooks:
                    fuse = partial(hook, point, tokens, seen, fuse)
                tokens = fuse()
        features = self.vit.features(tokens).unflatten(0, (images, -1))
        return raster(features, batch.layout), details

    def _fuse(self, tokens: Tensor, details: DetailMaps, stage: int, layer: int) -> Tensor:
        fusion = self.fusion_at(stage, layer)
        context = details.context(stage, self._read_again(stage, layer))
        output = fusion(tokens[:, 1:], details.read(fusion.reads, stage, product_dtype(tokens)), context)
        if output.detail is not None:
            details.replace(stage, output.detail)
        return torch.cat([tokens[:, :1], output.tokens], dim=1)

    @contextmanager
    def around_fusion(self, hook: FusionHook) -> Iterator[None]:
        """Inside, every fusion point is left to `hook`: to watch it, to measure it, or to leave it out. Of several hooks the last is the
        outermost."""
        self._hooks.append(hook)
        try:
            yield
        finally:
            self._hooks.remove(hook)

    def _read_again(self, stage: int, layer: int) -> bool:
        """Whether a later fusion point, or the handoff, reads a stage's map after this fusion point."""
        later = self.fusion_points[self.fusion_points.index((stage, layer)) + 1 :]
        return any(other == stage for other, _ in later) or (stage == 4 and self.config.fusion.handoff != "none")
