"""FILA whole: encoder, projector and language model; training loss and greedy generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fila_lab.config.base import ConfigError
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.config.weights import weights_file
from fila_lab.modeling.answers import PARTS, load_answer_parts
from fila_lab.modeling.attention import recomputing
from fila_lab.modeling.batch import FilaOutput, VisionBatch
from fila_lab.modeling.causal import CausalReader, check_reading
from fila_lab.modeling.encoder import HybridEncoder
from fila_lab.modeling.generation import Answer, greedy
from fila_lab.modeling.language import (
    build_language,
    build_tokenizer,
    check_vocabulary,
    end_tokens,
    leading_tokens,
    set_parameters_to,
    weights_dtype,
)
from fila_lab.modeling.lora import add_lora
from fila_lab.modeling.parts import Named, entries, parts_of
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.sight import Sight
from fila_lab.modeling.towers import build_convnext, build_vit

IGNORED = -100
"""Label of positions that carry no loss."""


class FilaModel(Sight, nn.Module):
    """Images and texts in, answers out. The language model reads [what its tokenizer puts before every text (BOS), overview tokens, canvas
    tokens with row separators, text]; with fusion.handoff=append detail tokens stand behind the canvas's, with replace in the place of
    both. Where a batch says so, the image
    stands in the text instead of before it; rows without an image are text alone.

    Texts are padded on the right and attention is causal, so training needs no mask: nothing real looks at padding.

    Put together from an encoder and a language model, which `build_model` makes of a run.
    """

    def __init__(self, config: RunConfig, tokenizer: PreTrainedTokenizerBase, encoder: HybridEncoder, language: PreTrainedModel) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.language = language
        self.reader = CausalReader(language)
        self.leading, self.ends = leading_tokens(tokenizer), end_tokens(language, tokenizer)
        self.add_connector(config, self.reader.width)

    def forward(self, batch: VisionBatch, labels: Tensor | None = None) -> FilaOutput:
        """labels: int64 [B, L], the answer's token ids at their own positions, -100 elsewhere. FilaOutput says what comes back."""
        visual, projected = self.seen(batch)
        if labels is None:
            return FilaOutput(self.text_logits(visual, batch.input_ids, image_at=batch.image_at))
        wanted = labels != IGNORED
        logits, targets = self.text_logits(visual, batch.input_ids, wanted, batch.image_at), labels[wanted]
        if not len(targets):  # a mean of nothing is NaN, which would pass for a divergence
            return FilaOutput(logits, logits.sum(), projected)
        return FilaOutput(logits, F.cross_entropy(logits, targets), projected)

    def text_logits(self, visual: Tensor, ids: Tensor, wanted: Tensor | None = None, image_at: int = 0) -> Tensor:
        """visual [B, V, D_llm], text ids [B, L], of which `image_at` stand before the image -> float32 logits of the token after each text
        position [B, L, vocabulary]; with a mask `wanted` [B, L] of M positions those of the wanted tokens themselves [M, vocabulary], each
        told by what stands before it."""
        embeddings = self._sequence(visual, ids, image_at)
        behind = len(self.leading) + visual.shape[1] + image_at
        with self.attention(embeddings.shape[1]):
            if wanted is None:
                places: slice | list[int] = slice(behind, None)
                if image_at:
                    places = [*range(len(self.leading), len(self.leading) + image_at), *range(behind, embeddings.shape[1])]
                return self.reader.logits(embeddings, (slice(None), places))
            head, rest = wanted.tensor_split([image_at], dim=1)
            told = torch.cat([F.pad(head, (len(self.leading), visual.shape[1])), rest], dim=1)
            return self.reader.logits(embeddings, F.pad(told[:, 1:], (0, 1)))

    def _sequence(self, visual: Tensor, ids: Tensor, image_at: int) -> Tensor:
        """What the language model reads: leading tokens, visual tokens [B, V, D_llm] among the text ids [B, L] -> [B, P + V + L, D_llm]."""
        text = self.reader.embed(ids)
        parts = [text[:, :image_at], visual.to(text.dtype), text[:, image_at:]]
        if self.leading:
            leading = self.reader.embed(torch.tensor([self.leading], device=ids.device))
            parts.insert(0, leading.expand(len(ids), -1, -1))
        sequence = torch.cat(parts, dim=1)
        most = self.reader.positions
        if most is not None and sequence.shape[1] > most:
            raise ConfigError(
                f"language.weights={self.config.language.weights!r} reads at most {most} tokens, but image and text have "
                f"{sequence.shape[1]}; choose smaller geometry.canvases or another language model"
            )
        return sequence

    def generate(self, batch: VisionBatch, max_new_tokens: int = 16) -> list[str]:
        """The texts of `answer`."""
        return [answer.text for answer in self.answer(batch, max_new_tokens)]

    @torch.inference_mode()
    def answer(self, batch: VisionBatch, limit: int, ends: Sequence[int] = ()) -> list[Answer]:
        """Greedy answers to the prompts `input_ids[b, :prompt_lengths[b]]` of any lengths: those each prompt would get alone, up to an end
        token (the model's, or one of `ends`, such as a template's), `limit` tokens or the last position that the language model knows."""
        visual, closing = self.see(batch), {*self.ends, *ends}
        prompts = self._sequence(visual, batch.input_ids[:, : int(batch.prompt_lengths.max())], batch.image_at)
        lengths = len(self.leading) + visual.shape[1] + batch.prompt_lengths
        with self.attention(prompts.shape[1]):
            ids = greedy(self.reader, prompts, lengths, sorted(closing), limit)
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [Answer(text, bool(own) and own[-1] in closing) for text, own in zip(texts, ids, strict=True)]

    @property
    def answer_parts(self) -> nn.ModuleDict:
        """The answer model: what reads visual tokens and answers, by the names of its parts. A projector of other tokens than a ViT's is
        none of them."""
        return nn.ModuleDict({part: getattr(self, part) for part in PARTS if part != "projector" or has_vit(self.config)})

    def parts(self) -> dict[str, Named]:
        """Part (`config.stages.PARTS`) -> (name, parameter) of each of its parameters that can train; what a run does not have is empty."""
        fixed = [] if self.encoder.vit is None else self.encoder.vit.unused_parameters()
        if self.config.language.lora is not None:  # adapters train in place of what they stand beside
            fixed += [value for name, value in self.language.named_parameters() if ".lora_" not in name]
        return parts_of(self, fixed)

    def let_train(self, names: Iterable[str]) -> None:
        """Of all parameters only those of these names train from now on."""
        chosen = set(names)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in chosen)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What the configuration lets train."""
        return [p for p in self.parameters() if p.requires_grad]

    def fusion_parameters(self) -> list[nn.Parameter]:
        """What the fusion adds to the baseline, the towers not counted."""
        return list(self.encoder.fusions.parameters())


def build_model(config: RunConfig, *, detail_branch: bool = True) -> FilaModel:
    """The model of a run, weights loaded or initialised from the seed's component streams, frozen parts without gradients.

    detail_branch: False leaves the ConvNeXt out, where all batches bring cached maps.
    Raises FilaError for weights, names or fusion points that cannot work.
    """
    tokenizer = build_tokenizer(config.language)
    vit = build_vit(config) if has_vit(config) else None
    encoder = HybridEncoder(config, vit, build_convnext(config) if detail_branch and has_convnext(config) else None)
    with component_rng(config.seed, "language"):
        language = build_language(config.language, tokenizer)
    check_vocabulary(config.language, language, tokenizer)
    model = FilaModel(config, tokenizer, encoder, language)
    language.requires_grad_(config.language.weights_train)
    if config.runtime.checkpointing:
        _recompute_layers(language)
    if weights_file(config.language.weights) is not None:
        load_answer_parts(model.answer_parts, config.language, config.language.weights)
    elif config.language.weights != "random":
        check_reading(model.reader)
    set_parameters_to(language, weights_dtype(config.language))
    if config.language.lora is not None:
        with component_rng(config.seed, "lora"):
            add_lora(language, config.language.lora)
    if config.train.stages is not None:
        named = (entries(model.parts(), stage.trains, f"train.stages.{number}") for number, stage in enumerate(config.train.stages))
        model.let_train([name for one in named for own in one.values() for name, _ in own])
    return model


def _recompute_layers(language: PreTrainedModel) -> None:
    """Layers of `language` are recomputed in the backward pass. Newer versions of transformers warn of the method's old name."""
    enable = getattr(language, "activation_checkpointing_enable", None) or language.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": recomputing})
