"""Weights that are not what they should be are refused by name: towers, answer models, language models and trained cells alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_language import make_language

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.modeling import ConvNextTower, VitTower, build_model
from fila_lab.modeling.answers import Truth, load_truth, save_answer_parts
from fila_lab.modeling.language import character_tokenizer
from fila_lab.modeling.weights import load_weights, save_weights
from fila_lab.training.trained import load_trained, save_trained

VIT = VitConfig(width=32, layers=3, heads=4)
SMALL = GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3)
State = dict[str, torch.Tensor]


def first(state: State, dtype: torch.dtype = torch.float32) -> str:
    """The name of a matrix, somewhere in the middle."""
    names = sorted(name for name, value in state.items() if value.ndim > 1 and value.dtype is dtype)
    return names[len(names) // 2]


def poison(value: float) -> Callable[[State], None]:
    def spoil(state: State) -> None:
        state[first(state)].view(-1)[7] = value

    return spoil


def surplus(name: str) -> Callable[[State], None]:
    return lambda state: state.update({f"{first(state).rpartition('.')[0]}.{name}": torch.ones(3)})


SPOILED: dict[str, tuple[Callable[[State], object], str]] = {
    "nan": (poison(float("nan")), "holds NaN or infinite values"),
    "inf": (poison(float("inf")), "holds NaN or infinite values"),
    "minus inf": (poison(float("-inf")), "holds NaN or infinite values"),
    "surplus": (surplus("ls_1.gamma"), r"has, more than the configuration, 1 tensors, e\.g\. .*ls_1\.gamma"),
    "missing": (lambda state: state.pop(first(state)), "lacks 1 tensors"),
    "shape": (lambda state: state.update({first(state): state[first(state)][:-1].clone()}), "does not fit: .* has shape"),
    "whole numbers": (lambda state: state.update({first(state): state[first(state)].to(torch.int8)}), "is int8; give unquantised weights"),
}


def rewritten(path: Path, spoil: Callable[[State], object]) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    spoil(state)
    save_file(state, path, metadata)


@pytest.fixture
def loaded(request: pytest.FixtureRequest, tmp_path: Path, make_config) -> tuple[Path, Callable[[], object], Callable[[str], bool]]:
    """A good file of each kind, what loads it, and which of its tensors that reads."""
    path, kind = tmp_path / "weights.safetensors", request.param
    if kind in ("vit", "convnext"):
        tower = VitTower(VIT, SMALL) if kind == "vit" else ConvNextTower(ConvNextConfig(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)))
        save_weights(tower, path)
        return path, lambda: load_weights(tower, str(path), f"{kind}.weights"), lambda name: True
    if kind == "cell":
        path = tmp_path / TRAINED_PARTS
        save_trained(build_model(make_config("addition")), make_config("addition"), path)
        return path, lambda: load_trained(tmp_path), lambda name: True
    truth = Truth(6, 32)
    save_answer_parts(build_model(make_config("none")).answer_parts, make_config("none").language, path, {"truth": truth})
    if kind == "truth":
        return path, lambda: load_truth(truth, str(path)), lambda name: name.startswith("truth.")
    return path, lambda: build_model(make_config("none", language={"weights": str(path)})), lambda name: not name.startswith("truth.")


OTHERS = ("convnext", "answers", "truth")
FAULTS = [(kind, fault) for kind in ("vit", "cell") for fault in SPOILED]
FAULTS += [(kind, fault) for kind in OTHERS for fault in ("nan", "missing")]
MORE_FAULTS = [(kind, fault) for kind in OTHERS for fault in SPOILED if fault not in ("nan", "missing")]


@pytest.mark.parametrize(
    ("loaded", "fault"), [*FAULTS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_FAULTS)], indirect=["loaded"]
)
def test_spoiled_files_are_refused_by_name(fault: str, loaded) -> None:
    path, load, read = loaded
    load()
    spoil, message = SPOILED[fault]

    def one(state: State) -> None:
        part = {name: state.pop(name) for name in list(state) if read(name)}
        spoil(part)
        state.update(part)

    rewritten(path, one)
    with pytest.raises(FilaError, match=message):
        load()


@pytest.mark.parametrize("tower", ["vit", "convnext"])
def test_more_layers_than_the_configuration_are_refused_and_heads_left_out(tower: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"

    def make(layers: int) -> VitTower | ConvNextTower:
        if tower == "vit":
            return VitTower(VIT.model_copy(update={"layers": layers}), SMALL)
        return ConvNextTower(ConvNextConfig(depths=(1, 1, layers, 1), dims=(8, 8, 16, 16)))

    save_weights(make(5), path)
    with pytest.raises(FilaError, match=r"has, more than the configuration, \d+ tensors"):
        load_weights(make(3), str(path), f"{tower}.weights")
    save_weights(make(3), path)
    rewritten(path, lambda state: state.update({"proj": torch.ones(2)} if tower == "vit" else {"head.fc.weight": torch.ones(2)}))
    load_weights(make(3), str(path), f"{tower}.weights")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_towers_are_float32_whatever_the_file(dtype: torch.dtype, tmp_path: Path) -> None:
    path, tower = tmp_path / "vit.safetensors", VitTower(VIT, SMALL)
    save_weights(tower, path)
    rewritten(path, lambda state: state.update({name: value.to(dtype) for name, value in state.items()}))
    load_weights(tower, str(path), "vit.weights")
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}


def test_another_number_of_heads_is_refused_where_the_file_tells(tmp_path: Path, make_config) -> None:
    path = tmp_path / "vit.safetensors"
    save_weights(VitTower(VIT, SMALL), path)
    with pytest.raises(FilaError, match=r"made with vit\.heads=4, the configuration says 8"):
        load_weights(VitTower(VIT.model_copy(update={"heads": 8}), SMALL), str(path), "vit.weights")
    with pytest.raises(FilaError, match=r"made with vit\.quick_gelu=False, the configuration says True"):
        load_weights(VitTower(VIT.model_copy(update={"quick_gelu": True}), SMALL), str(path), "vit.weights")
    save_answer_parts(build_model(make_config("none")).answer_parts, make_config("none").language, path)
    with pytest.raises(FilaError, match=r"made with language\.architecture=llama"):
        build_model(make_config("none", language={"weights": str(path), "architecture": "qwen2"}))


@pytest.mark.parametrize(
    ("fault", "message"),
    [("nan", "holds NaN"), ("surplus", "more than the configuration"), ("missing", "lacks"), ("shape", "cannot be loaded")],
)
def test_spoiled_language_models_are_refused(fault: str, message: str, tmp_path: Path, make_config) -> None:
    make_language("llama").save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    rewritten(tmp_path / "model.safetensors", SPOILED[fault][0])
    with pytest.raises(FilaError, match=message):
        build_model(make_config("none", language={"weights": str(tmp_path), "tokenizer": str(tmp_path)}))
