"""The door to the world: a trained model for transformers and lmms-eval, and other people's models in the laboratory."""

from fila_lab.hub.auto_classes import register
from fila_lab.hub.configuration import FilaConfig
from fila_lab.hub.door import Encoder, Loaded, encoder, load
from fila_lab.hub.images import FilaImageProcessor
from fila_lab.hub.model import FilaForConditionalGeneration
from fila_lab.hub.processor import FilaProcessor
from fila_lab.hub.save import save_model

register()

__all__ = [
    "Encoder",
    "FilaConfig",
    "FilaForConditionalGeneration",
    "FilaImageProcessor",
    "FilaProcessor",
    "Loaded",
    "encoder",
    "load",
    "save_model",
]
