"""A number is a number: text, true, 3.0 for 3, infinity and NaN are refused by every field, not turned into numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from fila_lab.config import ConfigError, RunConfig, StudyConfig, resolve_run
from fila_lab.config.overrides import model_of


def fields(model: type[BaseModel], above: str = "", seen: tuple[type, ...] = ()) -> Iterator[tuple[str, FieldInfo]]:
    """Every field of a model and of the models in it, by its path."""
    for name, field in model.model_fields.items():
        inner = [model_of(part) for part in (field.annotation, *get_args(field.annotation))]
        found = next((each for each in inner if each is not None and each not in seen), None)
        if found is not None:
            yield from fields(found, f"{above}{name}.", (*seen, model))
        else:
            yield above + name, field


NUMBERS = [
    (f"{model.__name__}-{path}", field)
    for model in (RunConfig, StudyConfig)
    for path, field in fields(model)
    if any(kind in str(field.annotation) for kind in ("int", "float", "bool"))
]


def shapes(field: FieldInfo, value: Any) -> Iterator[Any]:
    """A value where the field's numbers stand: itself, in tuples, in pairs, in mappings."""
    yield value
    yield from ([value] * length for length in (1, 2, 4))
    yield [[value, value]]
    for key in ("reading", "x"):
        yield {key: value}
        yield {key: [value, value]}


def _takes(field: FieldInfo, value: Any) -> bool:
    """A text may be an arm's name, and true what a field takes."""
    kind = str(field.annotation)
    return (isinstance(value, str) and "str" in kind) or (value is True and "bool" in kind)


WRONG = ["3", "010", " 3 ", "true", True, float("inf"), float("nan")]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [pytest.param(field, wrong, id=f"{name}-{wrong!r}") for wrong in WRONG for name, field in NUMBERS if not _takes(field, wrong)],
)
def test_a_field_of_numbers_takes_no_text_no_truth_and_nothing_endless(field: FieldInfo, wrong: Any) -> None:
    adapter = TypeAdapter(Any if field.annotation is None else _annotated(field))
    for shape in shapes(field, wrong):
        with pytest.raises(ValidationError):
            adapter.validate_python(shape)


def _annotated(field: FieldInfo) -> Any:
    from typing import Annotated

    return Annotated[field.annotation, field] if field.metadata else field.annotation  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"seed": True}, "seed = True: "),
        ({"seed": "010"}, "seed = '010': "),
        ({"seed": 3.0}, "give a whole number"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
        ({"data.seam.seed": -1}, "data.seam.seed = -1"),
        ({"train.steps": "300"}, "train.steps = '300'"),
        ({"train.learning_rate": "fast"}, "train.learning_rate = 'fast'"),
        ({"train.learning_rate": True}, "give a number"),
        ({"train.learning_rate": float("inf")}, "give a finite number"),
        ({"train.weight_decay": float("nan")}, "give a finite number"),
        ({"vit.mlp_ratio": 0}, "vit.mlp_ratio = 0"),
        ({"vit.trainable": "yes"}, "give true or false"),
        ({"vit.trainable": 1}, "give true or false"),
        ({"data.seam.text_height": [True, 14]}, "data.seam.text_height.0 = True"),
        ({"fusion.depth": [[True, 2]]}, "fusion.depth"),
    ],
)
def test_messages_name_field_value_and_remedy(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_run("mini", overrides)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
