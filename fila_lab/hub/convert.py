"""A model of the laboratory as transformers knows models: the same modules, and a processor that asks them."""

from __future__ import annotations

import copy

from transformers import AddedToken, PreTrainedTokenizerBase

from fila_lab.config import FilaError
from fila_lab.hub.chat_template import jinja
from fila_lab.hub.configuration import IMAGE_TOKEN, computed_run
from fila_lab.hub.images import FilaImageProcessor
from fila_lab.hub.model import FilaForConditionalGeneration
from fila_lab.hub.processor import FilaProcessor
from fila_lab.modeling import FilaModel
from fila_lab.training.prompts import prompt_of


def converted(model: FilaModel) -> tuple[FilaForConditionalGeneration, FilaProcessor]:
    """The model, whose weights are shared, and its processor.

    Raises:
        FilaError: a model that reads truth maps, which only generated items have.
    """
    if model.config.fusion.control == "oracle_map":
        raise FilaError("this model reads truth maps, which only generated items have; choose a cell of another arm")
    tokenizer = with_image_token(model.tokenizer)
    prompt = prompt_of(model.config.language.template, tokenizer)
    whole = FilaForConditionalGeneration.of(model, tokenizer.get_vocab()[IMAGE_TOKEN])
    whole.generation_config.eos_token_id = list(dict.fromkeys([*model.ends, *prompt.ends]))
    template = jinja(prompt.name, IMAGE_TOKEN, str(tokenizer.eos_token), prompt.lacking)
    return whole, FilaProcessor(FilaImageProcessor(computed_run(model.config)), tokenizer, template, prompt.name)


def returned(whole: FilaForConditionalGeneration, processor: FilaProcessor) -> FilaModel:
    """The way back: a model of the laboratory, whose weights are shared."""
    whole.language.generation_config = whole.generation_config  # which knows the tokens that end an answer
    model = FilaModel(whole.encoder.config, processor.tokenizer, whole.encoder, whole.language)
    model.projector, model.separator, model.handoff = whole.projector, whole.separator, whole.handoff
    return model.eval()


def with_image_token(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer with IMAGE_TOKEN as a token of its own, padding on the left, as texts to go on from need it."""
    own = copy.deepcopy(tokenizer)
    if IMAGE_TOKEN not in own.get_vocab():
        own.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)], special_tokens=True)
    own.padding_side = own.init_kwargs["padding_side"] = "left"
    return own
