"""What a benchmark is, as a YAML says it: its files and fields, what stands behind a question, its score and its aggregate.

The same words describe the built-in ones (config/benchmarks/) and a user's own, which needs ten lines:

    file: "*.jsonl"
    fields: {id: qid, image: picture, question: question, answers: answers}
    ending: "\\nAnswer the question using a single word or phrase."
    score: anls
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from fila_lab.config.base import ConfigError, Flag, Strict, did_you_mean, without_usual
from fila_lab.config.errors import config_error
from fila_lab.config.score_names import AGGREGATES, SCORES, aggregate_names, score_names
from fila_lab.config.suites import Split
from fila_lab.config.yaml_files import read_yaml

BENCHMARKS = Path(__file__).parent / "benchmarks"
RESERVED = (
    *("id", "item_id", "image_id", "task", "place", "question", "answer", "answers", "prediction", "score", "correct", "split", "canvas"),
    *("arm", "seed", "cell", "row"),
)
"""Columns of a frame that what is known of an item may not be called."""

Expression = str | Annotated[tuple[str, ...], Field(min_length=1)]
"""Where a value stands in a row: a field, `a.b` below one (of a list: of each), a text with `{field}` in it, or a list of these of which
the first that is there counts. Beside a row's own fields: `_key` (of rows in a mapping), `_row` (its number in the file), `_split` and
whatever a file's pattern names in braces."""


class FieldsConfig(Strict):
    """Where what makes an item stands in a row."""

    question: Expression = Field(description="a field, a text with {field} in it, or a list of these of which the first counts")
    answers: Expression | None = Field(default=None, description="a field with one answer or a list of them")
    image: Expression | None = Field(default=None, description="a path, bytes, or base64; a list of one of them")
    id: Expression | None = Field(
        default=None, description="what a row is known by; null: the row's number, from 0 over the files of a split"
    )
    image_id: Expression | None = Field(
        default=None, description="what an image is known by: equal where rows show one image; null: the image's path, or the id"
    )
    options: str | tuple[str, ...] | None = Field(
        default=None, description="a field that is a list, or a list of fields with one option each"
    )


class JoinConfig(Strict):
    """Another file whose rows complete those of the first."""

    file: str = Field(description="pattern of its path below the folder")
    rows: str = Field(default="", description="where the rows stand in a JSON file; empty: all of it")
    match: dict[str, str] = Field(min_length=1, max_length=1, description="field of the first -> field of the other with the same value")


class LayoutConfig(Strict):
    """One way in which a benchmark lies on a disk."""

    name: str = Field(default="files", description="what messages call it")
    file: Expression = Field(description="patterns of paths below the folder: *, {split}, {any_name}; the first that is there counts")
    rows: str = Field(default="", description="where the rows stand in a JSON file, e.g. data; empty: all of it")
    columns: tuple[str, ...] = Field(default=(), description="names of the columns of a text file without a header")
    splits: dict[Split, Expression] = Field(
        default={"train": "train", "val": ("val", "validation", "dev"), "test": "test"}, description="split -> its name in the files"
    )
    split_ids: str | None = Field(default=None, description="a JSON file that lists the keys of each split")
    join: JoinConfig | None = Field(default=None, description="another file whose rows complete those of the first; null: none")
    where: dict[str, Expression] = Field(default={}, description="field -> value that the rows of this benchmark have there")
    fields: FieldsConfig
    known: dict[str, Expression] = Field(default={}, description="further columns of a frame, each with the field where it stands")
    names: dict[str, dict[str, str]] = Field(default={}, description="known column -> value in the data -> value in frames")
    images: tuple[str, ...] = Field(
        default=("{image}", "images/{image}", "{image_name}"), min_length=1, description="where an image may lie below the folder of images"
    )
    answer_is: Literal["text", "letter", "index"] = Field(default="text", description="letter, index: of the options, counted from 0")
    answers_listed: Flag = Field(default=False, description="a text that is a Python list holds several answers")
    options_in_question: Flag = Field(default=False, description="the question holds its options as (A) ... (B) ...")
    text_only: Flag = Field(default=False, description="rows without an image are questions about nothing but the text")
    shared_ids: Flag = Field(default=False, description="rows that belong together have one id: they become id/1, id/2, ...")

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`answers_listed` only where it says something: data of definitions from before there was this field are then the same."""
        return without_usual(type(self), dump(self), ("answers_listed",))

    @model_validator(mode="after")
    def _whole_templates(self) -> LayoutConfig:
        own = self.fields
        named: dict[str, Expression | None] = {"fields.question": own.question, "fields.answers": own.answers, "fields.image": own.image}
        named |= {"fields.id": own.id, "fields.image_id": own.image_id, "fields.options": own.options, "images": self.images}
        named |= {f"known.{name}": expression for name, expression in self.known.items()}
        for pattern in (self.file,) if isinstance(self.file, str) else self.file:
            _check_pattern("file", pattern)
        if self.join is not None:
            _check_pattern("join.file", self.join.file)
        for field, expression in named.items():
            for text in (expression,) if isinstance(expression, str) else expression or ():
                _check_template(field, text)
        return self

    @model_validator(mode="after")
    def _free_names(self) -> LayoutConfig:
        if taken := [name for name in self.known if name in RESERVED]:
            raise ValueError(f"known.{taken[0]} has the name of a column of every frame; choose another name")
        return self


class Benchmark(Strict):
    """A benchmark: how it is asked and judged, and the layouts in which it is found."""

    title: str = Field(default="", description="its name in tables")
    split: Split = Field(default="test", description="the split that is evaluated, and that files without a split in their name are")
    score: str = Field(description="how an answer is judged: the name of a score")
    aggregate: str = Field(default="mean", description="what becomes of the scores: the name of an aggregate")
    by: tuple[str, ...] = Field(default=(), description="known columns whose levels get figures of their own")
    ending: str = Field(default="", description="what stands behind every question")
    before: str = Field(default="", description="what stands before a question, with {field}; left out where the field is empty")
    drop: str = Field(default="", description="a text that is taken out of every question")
    layouts: tuple[LayoutConfig, ...] = Field(
        min_length=1,
        description="ways in which it lies on a disk, the first that is there counts; a single one's keys may stand outside it",
    )

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, content: Any) -> Any:
        """A layout's keys may stand beside the others: they are then of the only layout, or what all layouts have in common."""
        if not isinstance(content, Mapping):
            return content
        common = {key: value for key, value in content.items() if key in LayoutConfig.model_fields}
        own = {key: value for key, value in content.items() if key not in common}
        layouts = content.get("layouts", [{}])
        if not isinstance(layouts, list | tuple):
            return content
        return {**own, "layouts": [_merged(common, layout) if isinstance(layout, Mapping) else layout for layout in layouts]}

    @model_validator(mode="after")
    def _known_names(self) -> Benchmark:
        _check_template("before", self.before)
        if self.score not in SCORES:
            _one_of("score", self.score, score_names())
        if self.aggregate not in AGGREGATES:
            _one_of("aggregate", self.aggregate, aggregate_names())
        known = {name for layout in self.layouts for name in layout.known}
        if unknown := [name for name in self.by if name not in known]:
            raise ValueError(f"by = {unknown[0]!r} is no known column{did_you_mean(unknown[0], known)}; name it under known")
        return self


def benchmark_names() -> tuple[str, ...]:
    """Names of the benchmarks that ship with the package."""
    return tuple(sorted(path.stem for path in BENCHMARKS.glob("*.yaml")))


def load_benchmark(name: str | Path) -> Benchmark:
    """A shipped benchmark by name, or a user's own by the path of its YAML file.

    Raises:
        ConfigError: no such benchmark, or a definition with a mistake.
    """
    path = Path(name)
    if not str(name).endswith((".yaml", ".yml")):
        path = BENCHMARKS / f"{name}.yaml"
        if str(name) not in benchmark_names():
            known = benchmark_names()
            raise ConfigError(
                f"benchmark {str(name)!r} is unknown{did_you_mean(str(name), known)}; choose {', '.join(known)}, or give the path of a "
                "YAML file that defines one"
            )
    content = read_yaml(path)
    try:
        return Benchmark.model_validate(content)
    except ValidationError as error:
        message = str(config_error(error, Benchmark, source=path.name))
        raise ConfigError(message if "layouts" in content else message.replace("layouts.0.", "")) from None


def _check_template(field: str, text: str) -> None:
    """ValueError for a text whose braces hold no field's name."""
    remedy = "write {field} or {field:012d}, and no other braces"
    try:
        parts = [(name, form, how) for _, name, form, how in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{field} = {text!r} cannot be read ({error}); {remedy}") from None
    for name, form, how in parts:
        if not name or name.isdecimal() or how or not re.fullmatch(r"(\d*d)?", form or ""):
            raise ValueError(f"{field} = {text!r} has braces that hold no field's name, or how to write it; {remedy}")


def _check_pattern(field: str, pattern: str) -> None:
    """ValueError for a pattern of files whose braces hold no word."""
    if set("{}") & set(re.sub(r"\{[A-Za-z_]\w*\}", "", pattern)):
        raise ValueError(f"{field} = {pattern!r} has braces that hold no word; write {{split}}, {{any_name}} or *")


def _merged(common: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**common, **layout}
    for key in ("fields", "known", "names"):
        if isinstance(common.get(key), Mapping) and isinstance(layout.get(key), Mapping):
            merged[key] = {**common[key], **layout[key]}
    return merged


def _one_of(field: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"{field} = {name!r} is unknown{did_you_mean(name, known)}; choose {', '.join(known)}")
