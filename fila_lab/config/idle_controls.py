"""Controls that would change nothing on some canvas, and so would pass for a control while the arm is the true one."""

from __future__ import annotations

from fila_lab.config.base import ConfigError
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig


def check_control(config: RunConfig) -> None:
    """Refuse a control that hands every token of some canvas its own cells.

    Raises:
        ConfigError: the canvas, and what to change.
    """
    control = config.fusion.control
    for canvas in config.geometry.allowed_canvases:
        width, height = canvas
        where = f"fusion.control = {control!r} changes nothing on a canvas of {width}x{height} px"
        rows, cols = _cells(config, canvas)
        if control == "shifted":
            for field in ("shift", "eval_shift"):
                _check_shift(config, field, where, rows, cols)
        if control == "shuffled" and rows * cols == 1:
            raise ConfigError(
                f"{where}, whose stage-4 map is one cell; raise geometry.detail_cells (or whole_image), or choose larger canvases"
            )
        if control == "random_window" and width * height == config.geometry.tile**2:
            raise ConfigError(f"{where}: overview and only tile have the same map; choose canvases of two tiles and more")


def _check_shift(config: RunConfig, field: str, where: str, rows: int, cols: int) -> None:
    """A shift of whole canvases is none. Zero is meant where only training, or only evaluation, is to be moved."""
    fusion = config.fusion
    shift, other = getattr(fusion, field), fusion.eval_shift if field == "shift" else fusion.shift
    if shift is None or shift % rows or shift % cols or (shift == 0 and other not in (None, 0)):
        return
    raise ConfigError(
        f"{where}: fusion.{field} = {shift} cells brings its map of {rows} x {cols} (rows x columns) cells back to its place; "
        "choose a shift that is no multiple of both"
    )


def _cells(config: RunConfig, canvas: Size) -> Size:
    """Rows and columns of a canvas's stage-4 map."""
    geometry, k = config.geometry, config.geometry.cells_a_side
    if geometry.whole_image is not None:
        return k, k
    return canvas[1] // geometry.tile * k, canvas[0] // geometry.tile * k
