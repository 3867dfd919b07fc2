"""A tiny model, the folder it is saved to, and what comes back from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import make_model
from transformers import AutoConfig, AutoModelForCausalLM

from fila_lab.hub import FilaForConditionalGeneration, FilaProcessor, save_model
from fila_lab.modeling import FilaModel
from fila_lab.modeling.language import character_tokenizer

SIZES = {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip


@pytest.fixture(scope="session")
def model() -> FilaModel:
    return make_model()


@pytest.fixture(scope="session")
def folder(model: FilaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, saved."""
    path = tmp_path_factory.mktemp("saved") / "model"
    save_model(model, path, "0123456789abcdef")
    return path


@pytest.fixture(scope="session")
def loaded(folder: Path) -> FilaForConditionalGeneration:
    return FilaForConditionalGeneration.from_pretrained(folder)


@pytest.fixture(scope="session")
def processor(folder: Path) -> FilaProcessor:
    return FilaProcessor.from_pretrained(folder)


@pytest.fixture
def language(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Fields of `language` for a tiny random model of one of transformers' families, in a folder."""

    def make(family: str, dtype: torch.dtype = torch.float32, **more: Any) -> dict[str, Any]:
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **{**SIZES, **more})
        AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(tmp_path / family)
        character_tokenizer().save_pretrained(tmp_path / family)
        return {"language__weights": str(tmp_path / family), "language__tokenizer": str(tmp_path / family)}

    return make
