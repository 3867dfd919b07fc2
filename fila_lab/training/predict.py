"""`fila-lab predict`: a trained cell answers a question about any image, and shows the tiles it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors import SafetensorError, safe_open

from fila_lab.config import FilaError, RunConfig
from fila_lab.imaging import Prepared, load_image, prepare
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.training.cell import TRAINED_PARTS
from fila_lab.training.features import needs_detail

ENLARGE = 6
"""Picture pixels per canvas pixel, for small tiles."""
MAX_NEW_TOKENS = 32


def predict(image: Path, question: str, cell: Path, out: Path | None = None) -> str:
    """Answer `question` about `image` with the cell whose folder is `cell`; the tiles go to OUT (a folder or .png; default beside it).

    Raises:
        FilaError: unreadable image, no trained parts in the cell, or a cell whose fusion needs truth maps.
    """
    model = load_trained(cell)
    config = model.config
    if config.fusion.control == "oracle_map":
        raise FilaError(f"--cell={cell}: this cell reads truth maps, which only generated items have; choose a cell of another arm")
    prepared = prepare(load_image(image), config.geometry, detail=needs_detail(config))
    ids = torch.tensor([model.tokenizer(question, add_special_tokens=True).input_ids])
    if ids.shape[1] == 0:
        raise FilaError("QUESTION is empty; ask for instance 'red?' or 'FR?'")
    detail = None if prepared.detail is None else torch.from_numpy(prepared.detail)[None]
    batch = VisionBatch(
        tiles=torch.from_numpy(prepared.tiles)[None],
        overview=torch.from_numpy(prepared.overview)[None],
        rows=prepared.geometry.rows,
        cols=prepared.geometry.cols,
        input_ids=ids,
        prompt_lengths=torch.tensor([ids.shape[1]]),
        detail=detail,
        layout=prepared.geometry.layout,
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=config.runtime.precision == "bf16"):
        answer = model.eval().generate(batch, MAX_NEW_TOKENS)[0]
    picture = _picture_path(image, out)
    draw_tiles(prepared, f"{question}  ->  {answer}", picture)
    return f"{answer}\ntiles: {picture}"


def load_trained(cell: Path) -> FilaModel:
    """The model of a cell: towers from their own files, trained parts from the cell."""
    path = cell / TRAINED_PARTS
    if not path.is_file():
        raise FilaError(
            f"--cell={cell}: there is no {TRAINED_PARTS} (published folders carry none); give a cell of a folder that `fila-lab run` wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            config = RunConfig.model_validate_json(file.metadata()["config"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError) as error:
        raise FilaError(f"--cell={cell}: {path.name} cannot be read ({error}); run the cell again") from error
    model = build_model(config)
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise FilaError(f"--cell={cell}: {path.name} has parts this version does not know, e.g. {unknown[0]}; run the cell again")
    return model


def draw_tiles(prepared: Prepared, title: str, path: Path) -> None:
    """The canvas with its tile borders, the overview beside it, and the question with its answer above."""
    factor = max(1, ENLARGE * 84 // max(prepared.geometry.canvas))
    canvas = _enlarged(prepared.canvas, factor)
    overview = _enlarged(prepared.overview, factor)
    gap, head = 12, 24
    sheet = Image.new("RGB", (canvas.width + gap + overview.width, head + max(canvas.height, overview.height)), "white")
    sheet.paste(canvas, (0, head))
    sheet.paste(overview, (canvas.width + gap, head))
    pen = ImageDraw.Draw(sheet)
    pen.text((4, 4), title, fill="black", font_size=14)
    for x in prepared.geometry.seams_x:
        pen.line((x * factor, head, x * factor, head + canvas.height), fill=(220, 30, 30), width=2)
    for y in prepared.geometry.seams_y:
        pen.line((0, head + y * factor, canvas.width, head + y * factor), fill=(220, 30, 30), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _enlarged(pixels: np.ndarray, factor: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _picture_path(image: Path, out: Path | None) -> Path:
    if out is None:
        return image.with_name(f"{image.stem}-tiles.png")
    return out if out.suffix == ".png" else out / f"{image.stem}-tiles.png"
