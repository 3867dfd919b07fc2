"""A trained FILA for transformers: the laboratory's own modules behind transformers' own door."""

from __future__ import annotations

import copy
import inspect
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from fila_lab.config import FilaError
from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.config.tiling import TileLayout
from fila_lab.hub.configuration import FilaConfig
from fila_lab.imaging.geometry import Geometry
from fila_lab.modeling import ConvNextTower, FilaModel, HybridEncoder, VisionBatch, VitTower
from fila_lab.modeling.causal import CACHE_NAMES, embedding_table
from fila_lab.modeling.lora import merged
from fila_lab.modeling.sight import Sight


class FilaForConditionalGeneration(Sight, PreTrainedModel, GenerationMixin):
    """Reads texts in which IMAGE_TOKEN stands once for every visual token of an image, at most one image a row; `FilaProcessor` makes such
    inputs. Its parts are named as a FilaModel's, and compute the same numbers.

    Loaded in another type than it was saved in, its numbers are others. It trains as any model of transformers; what was frozen in the run
    it came from is not here.
    """

    config_class = FilaConfig
    input_modalities = ["image", "text"]  # noqa: RUF012 (transformers' own form)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: FilaConfig) -> None:
        super().__init__(config)
        run = config.run_config
        vit = VitTower(run.vit, run.geometry) if has_vit(run) else None
        convnext = ConvNextTower(run.convnext) if has_convnext(run) else None
        for name, tower in (("vit", vit), ("convnext", convnext)):
            if tower is not None and name in config.pixel_statistics:
                mean, std = config.pixel_statistics[name]
                tower.statistics = (tuple(mean), tuple(std))
        self.encoder = HybridEncoder(run, vit, convnext)
        self.language: PreTrainedModel = AutoModelForCausalLM.from_config(config.text_config)
        self.add_connector(run, embedding_table(self.language).shape[-1])
        if config.encoder_in_float32:
            for part in self._own.values():
                part.float()
        self.post_init()

    @property
    def _own(self) -> dict[str, nn.Module]:
        """The parts beside the language model, by name."""
        parts = {"encoder": self.encoder, "projector": self.projector, "separator": self.separator, "handoff": self.handoff}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model, and so of its cache."""
        return self.language.dtype

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: towers, fusions and projector initialise themselves where they are built, the language model by its own class."""

    @classmethod
    def of(cls, model: FilaModel, image_token_id: int) -> Self:
        """A model of the laboratory, whose modules it shares; of a language model with adapters, it has one into which they are merged."""
        with torch.device("meta"):
            whole = cls(FilaConfig.of(model, image_token_id))
        for part in whole._own:
            setattr(whole, part, getattr(model, part))
        adapted = model.config.language.lora is not None
        whole.language = merged(copy.deepcopy(model.language)) if adapted else model.language
        whole.generation_config = GenerationConfig(
            eos_token_id=model.ends, pad_token_id=model.tokenizer.pad_token_id, max_new_tokens=model.config.language.answer_tokens
        )
        return whole.eval()

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As transformers says, but a file that lacks tensors is refused: they would be noise.

        Raises:
            FilaError: naming them.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, told = loaded
        if lacking := sorted(told["missing_keys"]):
            raise FilaError(
                f"{args[0] if args else 'the model'} lacks {len(lacking)} of the model's tensors, e.g. {lacking[0]}; "
                "save the cell again with `fila-lab save`"
            )
        return (model, told) if output_loading_info else model

    def get_input_embeddings(self) -> nn.Module:
        """The language model's."""
        return self.language.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """The language model's."""
        self.language.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return self.language.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """The language model's head."""
        self.language.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> nn.Module:
        """The language model without its head."""
        return self.language.get_decoder()

    def get_image_features(
        self, pixel_values: Tensor, image_sizes: Tensor, high_res_pixel_values: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Inputs as FilaImageProcessor makes them -> each image's visual tokens [V, D_llm], in the order of the rows that have one. Images
        of one layout are seen together."""
        groups: dict[tuple[TileLayout, tuple[int, int]], list[int]] = {}
        for row, (height, width) in enumerate(image_sizes.tolist()):
            if height:
                geometry = Geometry.of(width, height, self.encoder.config.geometry)
                groups.setdefault((geometry.layout, geometry.detail_blocks), []).append(row)
        found: dict[int, Tensor] = {}
        for (layout, (across, down)), rows in groups.items():
            blocks = None if high_res_pixel_values is None else high_res_pixel_values[rows, : across * down]
            detail = None if blocks is None else blocks.unflatten(1, (down, across)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
            batch = VisionBatch.of(
                layout,
                torch.zeros(len(rows), 0, dtype=torch.long, device=pixel_values.device),
                torch.zeros(len(rows), dtype=torch.long, device=pixel_values.device),
                overview=pixel_values[rows, 0],
                tiles=pixel_values[rows, 1 : 1 + layout.tiles],
                detail=detail,
            )
            found |= zip(rows, self.see(batch), strict=True)
        return tuple(found[row] for row in sorted(found))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        high_res_pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """What the language model's class returns for the texts with the images in them.

        input_ids: int64 [B, L]; pixel_values, high_res_pixel_values, image_sizes: as FilaImageProcessor makes them, a row for each text;
        labels: int64 [B, L], -100 where there is no loss, as at every IMAGE_TOKEN; the rest as in transformers' language models.

        Raises:
            ValueError: texts and images that do not belong together.
        """
        if inputs_embeds is None:
            inputs_embeds = self._embedded(input_ids, pixel_values, high_res_pixel_values, image_sizes)
        elif pixel_values is not None:
            raise ValueError("inputs_embeds have the images in them already; leave out pixel_values, or give input_ids")
        cache = kwargs.pop("past_key_values", cache)
        if position_ids is None and cache is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)  # from each text's own beginning
        given = dict.fromkeys(CACHE_NAMES, cache) | {"position_ids": position_ids, "logits_to_keep": logits_to_keep}
        taken = inspect.signature(self.language.forward).parameters
        given = {name: value for name, value in given.items() if name in taken}
        if labels is not None:
            given["labels"] = labels.masked_fill(labels == self.config.image_token_id, -100)
        # What a checkpointed layer computes again in backward stands outside any block: a model that trains is on PyTorch's own backend.
        with nullcontext() if self.training else self.attention(inputs_embeds.shape[1]):
            return self.language(inputs_embeds=inputs_embeds, attention_mask=attention_mask, use_cache=use_cache, **given, **kwargs)

    def _embedded(self, ids: Tensor | None, pixels: Tensor | None, details: Tensor | None, sizes: Tensor | None) -> Tensor:
        """What the language model reads for ids [B, L] and their images, [B, L, D_llm]."""
        if ids is None:
            raise ValueError("there is nothing to read; give input_ids, or inputs_embeds")
        embed = self.language.get_input_embeddings()
        if pixels is None and ids.shape[1] == 1:  # the next token of a text, whose image has been read
            return embed(ids)
        image = ids == self.config.image_token_id
        seen: tuple[Tensor, ...] = ()
        features = [0] * len(ids)
        if pixels is not None:
            if sizes is None or len(sizes) != len(ids):
                raise ValueError(f"pixel_values need image_sizes, a row for each of the {len(ids)} texts; FilaProcessor gives both")
            seen = self.get_image_features(pixels, sizes, details)
            left = map(len, seen)
            features = [next(left) if height else 0 for height in sizes[:, 0].tolist()]
        if (places := image.sum(1).tolist()) != features:
            raise ValueError(f"the texts have {places} image tokens, their images {features} visual tokens; FilaProcessor makes both")
        text = embed(ids.masked_fill(image, 0))
        return text.masked_scatter(image[..., None], torch.cat(seen).to(text.dtype)) if seen else text
