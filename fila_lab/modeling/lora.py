"""LoRA (Hu et al., 2021) by peft: low-rank adapters beside a language model's linear maps, which stay as they are.

The model keeps its class, and its names but for what stands below an adapted map: `q_proj.base_layer.weight`,
`q_proj.lora_A.default.weight`.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from fila_lab.config.base import ConfigError
from fila_lab.config.lora import ALL, LoraConfig, check_targets


def add_lora(language: PreTrainedModel, lora: LoraConfig) -> None:
    """Put adapters into a model. They are float32 whatever the model's type, add nothing at first (B is zero), and are all that trains.

    Raises:
        ConfigError: a target that is none of the model's linear maps, or maps that peft cannot adapt.
    """
    from peft import LoraConfig as Adapters
    from peft import inject_adapter_in_model

    name = type(language).__name__
    check_targets(lora, linear_maps(language), name)
    adapters = Adapters(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=ALL if lora.targets == ALL else list(lora.targets),
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in language.modules()),  # whose matrices are turned
    )
    try:
        inject_adapter_in_model(adapters, language)
    except ValueError as error:
        raise ConfigError(f"language.lora: {name} cannot have these adapters ({error}); name other language.lora.targets") from error
    for parameter in language.parameters():
        if parameter.requires_grad and parameter.dtype is not torch.float32:
            parameter.data = parameter.data.float()


def merged(language: PreTrainedModel) -> PreTrainedModel:
    """The same model, changed in place: adapters are added into the weights they stand beside, in the weights' type, and are gone; its
    modules are its class's own again. A model without adapters stays as it is."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, part in list(language.named_modules()):
        if isinstance(part, BaseTunerLayer):
            part.merge()
            language.set_submodule(name, part.get_base_layer())
    if hasattr(language, "peft_config"):
        del language.peft_config
    return language


def linear_maps(language: PreTrainedModel) -> list[str]:
    """Names of a model's linear maps, the head left out: tied heads are embeddings too."""
    head = language.get_output_embeddings()
    return [name for name, part in language.named_modules() if isinstance(part, nn.Linear | Conv1D) and part is not head]
