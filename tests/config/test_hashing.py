"""One hash for configurations: equal ones have it whatever their order, and it is what any other program would compute."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fila_lab.config import config_hash
from fila_lab.config.hashing import canonical_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


class Inner(BaseModel):
    width: float = 0.1
    name: str = "é"


class Outer(BaseModel):
    inner: Inner = Inner()
    sizes: tuple[int, ...] = (1, 2)


@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=4))
def test_the_text_is_plain_json_and_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert json.loads(text) == value
    assert canonical_json(dict(reversed(value.items()))) == text
    assert config_hash(value) == hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def test_the_text_by_hand() -> None:
    assert canonical_json({"b": [1, 0.1, None], "a": "é", "c": True}) == '{"a":"\\u00e9","b":[1,0.1,null],"c":true}'


def test_a_model_counts_as_its_fields_wherever_it_stands() -> None:
    outer = Outer()
    assert config_hash(outer) == config_hash({"sizes": [1, 2], "inner": {"name": "é", "width": 0.1}})
    assert config_hash({"run": outer}) == config_hash({"run": outer.model_dump(mode="json")})
    assert config_hash(outer) != config_hash(Outer(sizes=(2, 1)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|Out of range"):
        config_hash({"a": value})


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hash a object"):
        config_hash({"a": object()})
