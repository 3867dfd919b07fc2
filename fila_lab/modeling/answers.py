"""The answer model's parts, language model, row separator and projector, as one file: what `fila-lab pretrain answers` writes.

Newer files hold the embedding of the truth too, in which the language model learned to look things up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config import FilaError, weights_file
from fila_lab.config.files import set_usual_mode
from fila_lab.config.language import LanguageConfig
from fila_lab.modeling.fit import require_facts, require_fit
from fila_lab.modeling.weights import read_file

PARTS = ("language", "separator", "projector")
"""Names of the parts, in a model and in a file."""


class Truth(nn.Module):
    """Embeds what tokens show (`data.seam.truth.token_truth`): [B, T, C] -> [B, T, D_llm]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, width)

    def forward(self, truth: Tensor) -> Tensor:
        return self.embed(truth)


def unexplained(given: Tensor, wanted: Tensor) -> Tensor:
    """Share of the variance of `wanted` over tokens [..., D] that `given` leaves unexplained."""
    return F.mse_loss(given.float(), wanted) / wanted.flatten(0, -2).var(0, unbiased=False).mean()


def save_answer_parts(
    parts: nn.ModuleDict,
    config: LanguageConfig,
    path: Path,
    more: Mapping[str, nn.Module] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the three parts as safetensors, and `more` modules by name, which a model does not load."""
    whole = dict(parts.items()) | dict(more or {})
    states = ((f"{part}.{name}", value) for part, own in whole.items() for name, value in own.state_dict().items())
    save_file({name: value.detach().cpu().to(dtype).contiguous() for name, value in states}, path, _facts(config))
    set_usual_mode(path)


def load_answer_parts(parts: nn.ModuleDict, config: LanguageConfig, spec: str) -> None:
    """Fill these of the three parts.

    Raises:
        FilaError: no such file, unreadable, made for other sizes, with tensors more or less, or with values that are not finite.
    """
    state, told = _read(spec)
    require_facts("language.weights", spec, _facts(config), told)
    remedy = "set language and vit sizes to the file's, or random"
    unused = ("truth", *(part for part in PARTS if part not in parts))
    parts.load_state_dict(require_fit("language.weights", spec, parts.state_dict(), state, unused, remedy))


def load_truth(truth: Truth, spec: str) -> None:
    """Fill the embedding of the truth.

    Raises:
        FilaError: no such file, unreadable, without that embedding, made for other sizes, or with values that are not finite.
    """
    own = nn.ModuleDict({"truth": truth})
    state, _ = _read(spec)
    if not any(name.startswith("truth.") for name in state):
        raise FilaError(f"{spec}: holds no embedding of the truth; make the file again with `fila-lab pretrain answers`")
    remedy = "make it again with `fila-lab pretrain answers`"
    own.load_state_dict(require_fit("language.weights", spec, own.state_dict(), state, PARTS, remedy))


def _facts(config: LanguageConfig) -> dict[str, str]:
    """What the shapes of a language model's tensors do not tell: configuration field -> value."""
    return {"language.architecture": config.architecture, "language.heads": str(config.heads)}


def _read(spec: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = weights_file(spec)
    if path is None or not path.is_file():
        raise FilaError(f"language.weights={spec!r}: there is no file {path}; make it with `fila-lab pretrain answers`, or set random")
    return read_file(path, spec, "language.weights")
