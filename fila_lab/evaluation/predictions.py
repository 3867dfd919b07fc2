"""A file of predictions against the questions of a benchmark: which belong to which, and what they are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fila_lab.config.base import FilaError
from fila_lab.config.json_files import parse_json
from fila_lab.data.benchmarks import BenchmarkSuite
from fila_lab.data.benchmarks.rows import Question
from fila_lab.evaluation.judge import aggregate, chosen

_NAMED = 3
"""Ids that a message names."""


@dataclass(frozen=True)
class Prediction:
    """One line of a file of predictions."""

    id: str
    text: str
    line: int


@dataclass(frozen=True)
class Judged:
    """What predictions are worth: by which score and aggregate, `figures` of the questions that have one; ids of questions without, and of
    predictions for none."""

    score: str
    aggregate: str
    figures: dict[str, float]
    questions: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """The lines of a file, each `{"id": ..., "prediction": "..."}`; ids are texts or whole numbers.

    Raises:
        FilaError: it cannot be read, or a line is something else; with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise FilaError(f"{path} is not UTF-8 (byte {error.start}); save it in UTF-8") from error
    except OSError as error:
        raise FilaError(f"{path} cannot be read ({error.strerror}); give a file of JSON lines with id and prediction") from error
    found = tuple(_prediction(line, f"{path}, line {number}", number) for number, line in enumerate(lines, 1) if line.strip())
    if not found:
        raise FilaError(f"{path} is empty; give a line of JSON with id and prediction for each question")
    return found


def judge(
    suite: BenchmarkSuite,
    predictions: Iterable[Prediction],
    *,
    shown_only: bool = False,
    score: str | None = None,
    definition: str | None = None,
) -> Judged:
    """What predictions for a benchmark's evaluated split are worth.

    An id may lack what stands before its last `/` where that leaves no doubt, and ids that several questions share (MME) may stand once for
    each of them, in the order of the file.

    Args:
        suite: the benchmark.
        predictions: of `read_predictions`.
        shown_only: leave out questions whose image is not there, as an evaluation does.
        score, definition: as in `aggregate`.

    Raises:
        FilaError: no prediction is for one of the questions, two are for one, or the split has no answers.
    """
    split = suite.evaluated
    questions = suite.shown(split) if shown_only else suite.files.questions(split)[0]
    said, unknown = _matched(predictions, [question.id for question in questions])
    if not said:
        ours, theirs = (", ".join(map(repr, list(ids)[:_NAMED])) for ids in ([question.id for question in questions], unknown))
        raise FilaError(f"no prediction is for a question of {suite.name}, {split}: their ids are {theirs}, the questions' {ours}")
    rows = [_row(question, said[question.id]) for question in questions if question.id in said]
    if not any(row["answers"] for row in rows) and (join := suite.files.layout.join) is not None:
        raise FilaError(f"{suite.name}: {split} has no answers; put their file ({join.file}) beside the questions, if it was published")
    figures = aggregate(suite.benchmark, rows, score=score, definition=definition)
    missing = tuple(question.id for question in questions if question.id not in said)
    return Judged(*chosen(suite.benchmark, score, definition), figures, len(questions), missing, tuple(unknown))


def _row(question: Question, said: str) -> dict[str, object]:
    return {**question.known, "id": question.id, "prediction": said, "answers": question.answers}


def _prediction(line: str, where: str, number: int) -> Prediction:
    try:
        content = parse_json(line)
    except ValueError as error:
        raise FilaError(f'{where}: no JSON ({error}); a line is {{"id": ..., "prediction": "..."}}') from None
    if not isinstance(content, dict) or "id" not in content or "prediction" not in content:
        has = f"fields {', '.join(content)}" if isinstance(content, dict) else type(content).__name__
        raise FilaError(f"{where}: {has}; a line has the fields id and prediction")
    name, text = content["id"], content["prediction"]
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise FilaError(f"{where}: id = {name!r} is no text or whole number; give the question's id")
    if not isinstance(text, str):
        raise FilaError(f"{where}: prediction = {text!r} is no text; quote it")
    try:
        f"{name}{text}".encode()
    except UnicodeEncodeError as error:
        raise FilaError(f"{where}: holds {error.object[error.start]!r}, half of a character; write it whole") from None
    return Prediction(str(name), text, number)


def _matched(predictions: Iterable[Prediction], ids: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """(question's id -> prediction, ids that are no question's)."""
    there, short = set(ids), Counter(name.rpartition("/")[2] for name in ids)
    full = {name.rpartition("/")[2]: name for name in ids if short[name.rpartition("/")[2]] == 1}
    seen: Counter[str] = Counter()
    found: dict[str, Prediction] = {}
    unknown: list[str] = []
    for one in predictions:
        seen[one.id] += 1
        name = _name(one.id, seen[one.id], there, full)
        if name is None:
            unknown.append(one.id)
        elif (first := found.setdefault(name, one)).text != one.text:
            raise FilaError(
                f"predictions: id {one.id!r} stands in lines {first.line} and {one.line} with different texts; leave one of them"
            )
    return {name: one.text for name, one in found.items()}, unknown


def _name(name: str, count: int, there: Collection[str], full: Mapping[str, str]) -> str | None:
    """The question that an id means, at its `count`th appearance."""
    if name in there:
        return name
    shared = f"{name}/{count}"
    return shared if shared in there else full.get(name)
