"""`fila-lab predict`: a trained cell answers a question about any image, and shows the tiles it saw and where fusion acted."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.config.counts import llm_tokens
from fila_lab.config.prompts import TEMPLATES
from fila_lab.config.strategies import has_vit
from fila_lab.data.prompt import Dialogue, Encoded, Prompt
from fila_lab.data.suite import Turn
from fila_lab.imaging import Prepared, hardly_seen, load_image, prepare
from fila_lab.imaging.pictures import check_replaceable, picture_format
from fila_lab.modeling import FilaModel, VisionBatch
from fila_lab.modeling.generation import Answer
from fila_lab.modeling.precision import autocast
from fila_lab.training.drawing import draw_answer
from fila_lab.training.features import needs_detail
from fila_lab.training.injection import injections
from fila_lab.training.questions import check_length, check_question, examples_if_unlike, unknown_tokens
from fila_lab.training.texts import Texts
from fila_lab.training.trained import load_trained


def predict(image: Path, question: str, cell: Path, out: Path | None = None, model: FilaModel | None = None) -> str:
    """Answer `question` about `image` with the cell whose folder is `cell`, and draw the tiles it saw, and how much each fusion
    point added to each token.

    out: a picture by its suffix, or a folder for `<image>-tiles.png`; default beside the image. model: what is asked in a cell's place,
    where the folder is a saved model's. Returns the answer, where the picture is, and a note a line on what the model could not see or
    know.

    Raises:
        FilaError: unreadable image, a question that is empty, no text or too long, an `out` that is no picture, no trained parts in the
            cell, or a cell whose fusion needs truth maps.
    """
    check_question(question)
    pixels = load_image(image)
    picture = picture_path(image, out)
    told = model is None
    model = load_trained(cell) if model is None else model.eval()
    config = model.config
    if config.fusion.control == "oracle_map":
        raise FilaError(f"--cell={cell}: this cell reads truth maps, which only generated items have; choose a cell of another arm")
    prepared = prepare(pixels, config.geometry, detail=needs_detail(config))
    words = Texts(model.tokenizer, config.language)
    (asked,) = words.encoded([Dialogue((Turn(question, ()),))], answered=False)
    _check_length(asked, words.prompt, model, prepared)
    texts = words.padded([asked])
    batch = VisionBatch.of(
        prepared.geometry.layout,
        texts.ids,
        texts.prompt_lengths,
        image_at=texts.image_at,
        tiles=prepared.tiles[None],
        overview=prepared.overview[None],
        detail=None if prepared.detail is None else prepared.detail[None],
    )
    device = next(model.parameters()).device
    with autocast(config.runtime.precision, device.type), injections(model.encoder) as heat:
        (answer,) = model.eval().answer(batch.to(device), config.language.answer_tokens, words.prompt.ends)
    answer = answer._replace(text=words.prompt.said(answer.text))
    lines = [answer.text, *(f"note: {note}" for note in _notes(question, answer, model, prepared, told))]
    cut = has_vit(config) or config.fusion.detail_context == "tile"
    draw_answer(prepared, f"{question}  ->  {answer.text}", heat, picture, cut)
    return "\n".join([*lines, f"tiles: {picture}"])


def picture_path(image: Path, out: Path | None) -> Path:
    """Where the picture goes: `out` itself where its suffix is a picture's, else into the folder `out`, by default the image's own.

    Raises:
        FilaError: a suffix of no picture format that is not a folder's either, the image itself, or a file that is there and not ours.
    """
    path = _named_path(image, out)
    check_replaceable(path)
    return path


def _named_path(image: Path, out: Path | None) -> Path:
    name = f"{image.stem}-tiles.png"
    if out is None:
        return image.with_name(name)
    if out.is_dir() or not out.suffix:
        return out / name
    if picture_format(out) is None:
        raise FilaError(
            f"--out={out}: {out.suffix} is no picture format; give a name that ends in .png, .jpg or .webp, or a folder that exists"
        )
    if out.exists() and image.exists() and out.samefile(image):
        raise FilaError(f"--out={out} is the image itself, which would be lost; give another name")
    return out


def _check_length(asked: Encoded, prompt: Prompt, model: FilaModel, prepared: Prepared) -> None:
    geometry, tokens = prepared.geometry, len(asked.ids)
    seen = llm_tokens(geometry.canvas, model.config, geometry.image_size)
    if (cut := prompt.cut_off(asked, seen)) is not None:
        raise FilaError(f"QUESTION has {tokens} tokens with its template, which leave no room for an answer: {cut[1]}")
    check_length(tokens, seen, model.config.language.answer_tokens, model.reader.positions)


def _notes(question: str, answer: Answer, model: FilaModel, prepared: Prepared, told: bool) -> list[str]:
    """What the model could not see of the image, nor know of the question; and an answer that holds nothing or was cut off. told: whether
    its configuration tells what it was trained on."""
    notes = [found] if (found := hardly_seen(prepared.geometry)) else []
    template = model.config.language.template
    if "{question}" not in TEMPLATES[template].ask:
        notes.append(f"the cell's template, {template}, puts no question into words: whatever is asked, it tells of the image")
    if unknown := unknown_tokens(model.tokenizer, question):
        shown = ", ".join(map(repr, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        notes.append(f"the model's tokenizer does not know {shown}: it cannot read these")
    if examples := examples_if_unlike(question, model.config) if told else {}:
        listed = "; ".join(f"{task} {example!r}" for task, example in examples.items())
        notes.append(f"QUESTION is unlike all that the model was trained on, so the answer says nothing about the image; it knows {listed}")
    if not answer.text.strip():
        notes.append("the answer is empty: the model ended it at once")
    if not answer.whole:
        notes.append(f"the answer was cut off after {model.config.language.answer_tokens} tokens (language.answer_tokens)")
    return notes
