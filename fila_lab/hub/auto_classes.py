"""Makes transformers' Auto classes know a saved model."""

from __future__ import annotations

from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from fila_lab.hub.configuration import FilaConfig
from fila_lab.hub.images import FilaImageProcessor
from fila_lab.hub.model import FilaForConditionalGeneration
from fila_lab.hub.processor import FilaProcessor


def register() -> None:
    """Once a process; doing it again changes nothing."""
    AutoConfig.register(FilaConfig.model_type, FilaConfig, exist_ok=True)
    AutoModelForImageTextToText.register(FilaConfig, FilaForConditionalGeneration, exist_ok=True)
    backends: dict[str, type] = dict.fromkeys(("torchvision", "pil"), FilaImageProcessor)  # which one is asked for makes no difference
    AutoImageProcessor.register(FilaConfig, image_processor_classes=backends, exist_ok=True)
    AutoProcessor.register(FilaConfig, FilaProcessor, exist_ok=True)
