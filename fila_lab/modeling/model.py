"""FILA whole: encoder, projector and language model; training loss and greedy generation."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel

from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_convnext
from fila_lab.modeling.answers import is_answer_file, load_answer_parts
from fila_lab.modeling.attention import attention_backend, recomputing
from fila_lab.modeling.batch import FilaOutput, VisionBatch
from fila_lab.modeling.encoder import HybridEncoder
from fila_lab.modeling.language import build_language, build_tokenizer
from fila_lab.modeling.projector import Handoff, RowSeparator, build_projector
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.towers import build_convnext, build_vit

IGNORED = -100
"""Label of positions that carry no loss."""


class FilaModel(nn.Module):
    """Images and texts in, answers out. The language model reads [overview tokens, canvas tokens with row separators, text];
    with fusion.handoff=append detail tokens stand before the text.

    Texts are padded on the right and attention is causal, so no mask is needed: nothing real looks at padding.
    """

    def __init__(self, config: RunConfig, oracle_channels: int | None = None, detail_branch: bool = True) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = build_tokenizer(config.language)
        vit = build_vit(config)
        sees = detail_branch and has_convnext(config)
        self.encoder = HybridEncoder(config, vit, build_convnext(config) if sees else None, oracle_channels)
        with component_rng(config.seed, "language"):
            self.language: PreTrainedModel = build_language(config.language, self.tokenizer)
        self.language.requires_grad_(config.language.trainable)
        if config.runtime.checkpointing:
            self.language.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": recomputing})
        width: int = self.language.config.hidden_size
        with component_rng(config.seed, "projector"):
            self.projector = build_projector(config.projector, config.vit.width, width)
        with component_rng(config.seed, "separator"):
            self.separator = RowSeparator(width)
        self.handoff: Handoff | None = None
        if config.fusion.handoff == "append":
            channels = oracle_channels if config.fusion.control == "oracle_map" and oracle_channels else config.convnext.dims[3]
            with component_rng(config.seed, "handoff"):
                self.handoff = Handoff(config.projector, channels, width)
        if is_answer_file(config.language.weights):
            load_answer_parts(self, config.language.weights)

    def _attention(self, tokens: int) -> AbstractContextManager[None]:
        """The run's attention backend for sequences of `tokens` tokens."""
        return attention_backend(self.config.runtime.attention, tokens, next(self.projector.parameters()).device.type)

    def see(self, batch: VisionBatch) -> Tensor:
        """The visual part of the language model's input, [B, V, D_llm]."""
        return self._see(batch)[0]

    def _see(self, batch: VisionBatch) -> tuple[Tensor, Tensor]:
        """The visual part, and the projected tokens in it, the overview's first, without separators [B, g*g + T, D_llm]."""
        with self._attention(self.encoder.grid**2 + 1):
            tokens, details = self.encoder.encode(
                batch.tiles, batch.overview, batch.rows, batch.cols, batch.maps, batch.detail, batch.oracle, batch.layout
            )
            projected = self.projector(tokens)
            visual = self.separator(projected, batch.rows, batch.cols, self.encoder.grid, batch.layout)
        if self.handoff is not None and details is not None:
            visual = torch.cat([visual, self.handoff(details.canvas_means(4)).to(visual.dtype)], dim=1)
        return visual, projected

    def forward(self, batch: VisionBatch, labels: Tensor | None = None) -> FilaOutput:
        """labels: int64 [B, L], the answer's token ids at their own positions, -100 elsewhere. FilaOutput says what comes back."""
        visual, projected = self._see(batch)
        text = self.language.get_input_embeddings()(batch.input_ids)
        with self._attention(visual.shape[1] + text.shape[1]):
            hidden = self.language.model(inputs_embeds=torch.cat([visual.to(text.dtype), text], dim=1), use_cache=False).last_hidden_state
        first = visual.shape[1]
        if labels is None:
            return FilaOutput(self.language.lm_head(hidden[:, first:]).float())
        wanted = labels != IGNORED
        logits = self.language.lm_head(hidden[:, first - 1 : -1][wanted]).float()
        targets = labels[wanted]
        accuracy = (logits.detach().argmax(-1) == targets).float().mean()
        return FilaOutput(logits, F.cross_entropy(logits, targets), accuracy, projected)

    @torch.inference_mode()
    def generate(self, batch: VisionBatch, max_new_tokens: int = 16) -> list[str]:
        """Greedy answers to the prompts `input_ids[b, :prompt_lengths[b]]`, up to the end token; decoded, special tokens left out."""
        visual = self.see(batch)
        answers: list[str] = [""] * len(batch)
        for length in batch.prompt_lengths.unique().tolist():
            chosen = (batch.prompt_lengths == length).nonzero().squeeze(1)
            with self._attention(visual.shape[1] + length):
                ids = self._continue(visual[chosen], batch.input_ids[chosen, :length], max_new_tokens)
            for index, text in zip(chosen.tolist(), self.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
                answers[index] = text
        return answers

    def _continue(self, visual: Tensor, prompts: Tensor, max_new_tokens: int) -> Tensor:
        """Prompts of one length, so neither mask nor padding: [B, V, D], [B, P] -> ids [B, <= max_new_tokens], ends after the end."""
        embed, end = self.language.get_input_embeddings(), self.tokenizer.eos_token_id
        text = embed(prompts)
        inputs = torch.cat([visual.to(text.dtype), text], dim=1)
        cache = DynamicCache(config=self.language.config)
        done = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
        new: list[Tensor] = []
        for _ in range(max_new_tokens):
            hidden = self.language.model(inputs_embeds=inputs, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
            token = self.language.lm_head(hidden).float().argmax(-1).masked_fill(done, end)
            new.append(token)
            done |= token == end
            if bool(done.all()):
                break
            inputs = embed(token[:, None])
        return torch.stack(new, dim=1)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the configuration lets train."""
        return [p for p in self.parameters() if p.requires_grad]

    def fusion_parameters(self) -> list[nn.Parameter]:
        """What the fusion adds to the baseline, the towers not counted."""
        return list(self.encoder.fusions.parameters())


def build_model(config: RunConfig, *, oracle_channels: int | None = None, detail_branch: bool = True) -> FilaModel:
    """The model of a run, weights loaded or initialised from the seed's component streams, frozen parts without gradients.

    oracle_channels: channels of the truth maps, for the control oracle_map; detail_branch: False leaves the ConvNeXt out, where all
    batches bring cached maps.
    Raises FilaError for weights, names or interactions that cannot work.
    """
    return FilaModel(config, oracle_channels, detail_branch)
