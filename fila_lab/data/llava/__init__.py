"""The suite `llava`: files in LLaVA's format, as JSON, JSON lines, parquet, or a mix of them."""

from fila_lab.data.llava.options import LlavaOptions
from fila_lab.data.llava.suite import LlavaSuite, open_llava

__all__ = ["LlavaOptions", "LlavaSuite", "open_llava"]
