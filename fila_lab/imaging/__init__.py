"""Canvas choice, resize and pad, tiles, seams: the geometry every other room asks. No torch here."""

from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.imaging.extremes import hardly_seen
from fila_lab.imaging.geometry import Box, Geometry
from fila_lab.imaging.prepare import PAD_COLOUR, Prepared, join_tiles, overview_of, prepare, split_tiles
from fila_lab.imaging.read import ImageError, image_from_bytes, image_size, load_image
from fila_lab.imaging.rgb import to_rgb
from fila_lab.imaging.seams import cut_by_seam, cut_fraction

__all__ = [
    "PAD_COLOUR",
    "Box",
    "Geometry",
    "ImageError",
    "Prepared",
    "choose_canvas",
    "cut_by_seam",
    "cut_fraction",
    "hardly_seen",
    "image_from_bytes",
    "image_size",
    "join_tiles",
    "load_image",
    "overview_of",
    "prepare",
    "split_tiles",
    "to_rgb",
]
