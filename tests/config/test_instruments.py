"""Weights of the first instrument are known by their names, and refused with what can be done."""

from __future__ import annotations

import pytest

from fila_lab.config import ConfigError, load_preset
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.config.instruments import RETIRED, of_first_instrument, retired_weights
from fila_lab.config.loading import resolve_run
from fila_lab.config.weights import weights_file


def test_what_is_retired_is_not_shipped_and_what_presets_name_is() -> None:
    files = [weights_file(weights) for weights in RETIRED]
    assert not [file for file in files if file is None or file.exists()]
    assert not of_first_instrument([load_preset("mini").model_dump(), load_preset("paper").model_dump()])


@pytest.mark.parametrize(
    ("config", "retired"),
    [
        ({"vit": {"weights": "package:mini_vit"}, "convnext": {"weights": "random"}}, ["package:mini_vit"]),
        ({"language": {"weights": "package:mini_families_answers"}}, ["package:mini_families_answers"]),
        ({"vit": {"weights": "package:mini_vit_0"}, "convnext": {"weights": "mini_vit"}, "language": {}}, []),
        ({}, []),
    ],
)
def test_a_recorded_run_says_which(config: dict[str, dict[str, str]], retired: list[str]) -> None:
    assert retired_weights(config) == retired
    assert of_first_instrument([{}, config]) == bool(retired)


@pytest.mark.parametrize(("room", "weights"), [("convnext", "package:mini_convnext"), ("language", "package:mini_answers")])
def test_a_run_that_names_them_is_refused(room: str, weights: str) -> None:
    field = f"{room}.weights"
    with pytest.raises(ConfigError, match=rf"{field}: {weights} is of the first instrument and no longer shipped; name weights that are"):
        check_checkpoints(resolve_run("mini", {field: weights}))
