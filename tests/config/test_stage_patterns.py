"""Patterns of training stages that cannot work are refused by names alone; where a name is not known, nothing is refused."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.stage_patterns import check_patterns, may_begin


def staged(*trains: str, **overrides: object) -> RunConfig:
    stage = {"name": "a", "trains": list(trains), "steps": 2}
    further = {name.replace("__", "."): value for name, value in overrides.items()}
    return resolve_run("mini", {"fusion.name": "concat", "train.stages": [stage], **further})


@pytest.mark.parametrize(
    ("trains", "words"),
    [
        (
            ("fusion", "encoder.vit.blocks.*"),
            r"stages\.0\.trains: no parameter is called 'encoder\.vit\.blocks\.\*'; they are called",
        ),
        (("fusion", "encoder.vit.trunk.transformer.resblocks.6.*"), r"no parameter is called .*resblocks\.6"),  # mini has six layers
        (("fusion", "language.model.layers.9.*"), r"no parameter is called"),
        (("fusion", "projector.1.*"), r"no parameter is called"),
        (("projector", "encoder.fusions.[789].*"), r"no parameter is called"),  # no fusion point follows these layers
        (("fusion", "projector", "*.mlp.*", "language.model.layers.0.mlp.*"), r"language\.\S+ is named by '\*\.mlp\.\*' and by 'language"),
        (("fusion", "encoder.vit.*.mlp.*", "encoder.*.resblocks.0.*"), r"resblocks\.0\.mlp\.c_fc\.\w+ is named by"),
        (("fusion", "language", "*.self_attn.*"), r"is named by 'language' and by '\*\.self_attn\.\*'; name each parameter once"),
    ],
)
def test_what_names_nothing_or_a_parameter_twice_is_refused(trains: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_patterns(staged(*trains))


@pytest.mark.parametrize(
    "trains",
    [
        ("fusion", "encoder.vit.trunk.transformer.resblocks.[45].*"),
        ("encoder.fusions.*.out.*", "projector"),  # only the model knows a strategy's names
        ("fusion", "language.lm_head.*"),  # which may be tied
        ("fusion", "*_proj.bias"),
    ],
)
def test_what_may_name_something_is_left_to_the_model(trains: tuple[str, ...]) -> None:
    check_patterns(staged(*trains))


def test_of_a_language_model_on_the_hub_nothing_is_known() -> None:
    check_patterns(staged("fusion", "language.anything.*", language__weights="owner/name", language__tokenizer="owner/name"))
    with pytest.raises(ConfigError, match="no parameter is called"):
        check_patterns(staged("fusion", "langage.*.anything", language__weights="owner/name", language__tokenizer="owner/name"))


def test_a_beginning_may_match_where_some_name_with_it_does() -> None:
    names = ["".join(letters) for length in range(5) for letters in product("ab", repeat=length)]
    for pattern in ("*", "a*", "?b", "[ab]a", "[!a]*a", "*b*a", "ab", ""):
        for prefix in names[:7]:
            assert may_begin(pattern, prefix) >= any(name.startswith(prefix) and fnmatchcase(name, pattern) for name in names)
    assert not may_begin("a?b*", "ba")
    assert not may_begin("[ab]", "aa")
