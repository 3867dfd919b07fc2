"""What a language model is given of an image: encoder, projector, row separator and handoff, in whatever module holds them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import map_channels, visual_width
from fila_lab.config.tiling import NO_IMAGE
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.batch import VisionBatch
from fila_lab.modeling.encoder import HybridEncoder
from fila_lab.modeling.projector import Handoff, RowSeparator, build_projector, merge_visual
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.sharding import local


class Sight:
    """Sees, as a part of a module that has these parts: a FilaModel, and what transformers knows it as."""

    encoder: HybridEncoder
    projector: nn.Module
    separator: RowSeparator
    handoff: Handoff | None

    def add_connector(self, config: RunConfig, width: int) -> None:
        """Projector, row separator and handoff of a run, each from its own stream, for a language model of `width`."""
        with component_rng(config.seed, "projector"):
            self.projector = build_projector(config.projector, visual_width(config), width)
        with component_rng(config.seed, "separator"):
            self.separator = RowSeparator(width)
        self.handoff = None
        if config.fusion.handoff == "append":
            with component_rng(config.seed, "handoff"):
                self.handoff = Handoff(config.projector, map_channels(config, 4), width)

    def attention(self, tokens: int) -> AbstractContextManager[None]:
        """The run's attention backend for sequences of `tokens` tokens."""
        return attention_backend(self.encoder.config.runtime.attention, tokens, self.separator.separator.device.type)

    def see(self, batch: VisionBatch) -> Tensor:
        """The visual part of the language model's input, [B, V, D_llm]; V is 0 where rows have no image."""
        return self.seen(batch)[0]

    def seen(self, batch: VisionBatch) -> tuple[Tensor, Tensor | None]:
        """The visual part, and the projected tokens in it, the overview's first, without separators [B, (g*g + T) / side^2, D_llm]; None
        without an image."""
        if batch.layout == NO_IMAGE:
            return self._nothing(batch), None
        with self.attention(self.encoder.grid**2 + 1):
            tokens, details = self.encoder.encode(batch)
            if self.encoder.vit is None:
                tokens = F.layer_norm(tokens.to(next(self.projector.parameters()).dtype), tokens.shape[-1:])
            how = self.encoder.config.projector
            projected = self.projector(merge_visual(tokens, batch.layout, how))
            visual = self.separator(projected, batch.layout.merged(how.side))
        if self.handoff is not None and details is not None:
            visual = torch.cat([visual, self.handoff(details.canvas_means(4), batch.layout).to(visual.dtype)], dim=1)
        return visual, projected

    def _nothing(self, batch: VisionBatch) -> Tensor:
        """No visual tokens, [B, 0, D_llm], whose gradient is a zero for all that images would train: a step on texts alone is then the same
        on one device and on several, which wait for every parameter."""
        nothing = torch.zeros(len(batch), 0, len(self.separator.separator), device=batch.input_ids.device)
        if torch.is_grad_enabled():
            parts = (part for part in (self.encoder, self.projector, self.separator, self.handoff) if part is not None)
            untouched = [local(p).flatten()[:0].sum() for part in parts for p in part.parameters() if p.requires_grad]
            nothing = nothing + sum(untouched, start=torch.zeros((), device=nothing.device))
        return nothing
