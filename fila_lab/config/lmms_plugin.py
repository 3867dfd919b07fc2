"""What lmms-eval finds by its entry point: the model `fila`. Light, for lmms-eval asks every plug-in at every start."""

from __future__ import annotations

from typing import Any

_CLASSES = "fila_lab.hub.lmms_models"


def manifests() -> list[Any]:
    """The models of this package: `--model fila --model_args pretrained=DIR`, with a chat's messages, or simple with --force_simple."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [ModelManifest("fila", simple_class_path=f"{_CLASSES}.FilaSimple", chat_class_path=f"{_CLASSES}.FilaChat")]
