"""The audit of other people's models: what a seam costs a model of transformers, on pages made for its own tiles."""

from fila_lab.hub.audit.figures import Figure, Figures
from fila_lab.hub.audit.pages import TASKS, Page, page_of
from fila_lab.hub.audit.readers import Asked, ModelReader, Reader, open_processor, open_reader
from fila_lab.hub.audit.report import Subject, content, markdown, write_report
from fila_lab.hub.audit.run import Audit, audit
from fila_lab.hub.audit.seen import check_tiling
from fila_lab.hub.audit.tilings import Tiling, seams, tiling_of

__all__ = [
    "TASKS",
    "Asked",
    "Audit",
    "Figure",
    "Figures",
    "ModelReader",
    "Page",
    "Reader",
    "Subject",
    "Tiling",
    "audit",
    "check_tiling",
    "content",
    "markdown",
    "open_processor",
    "open_reader",
    "page_of",
    "seams",
    "tiling_of",
    "write_report",
]
