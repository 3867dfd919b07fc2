"""What torch wrote is told by name and shape as torch itself reads it, without torch, and nothing in it is run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fila_lab.config.base import ConfigError
from fila_lab.config.pickled_header import pickled_shapes, pickled_types
from fila_lab.config.weight_headers import stored_shapes
from fila_lab.modeling.tensor_files import TensorFiles

STATE: dict[str, Any] = {
    "a.weight": torch.arange(6.0).reshape(2, 3).T,
    "half": torch.ones(2, dtype=torch.bfloat16),
    "whole": torch.ones(4, dtype=torch.int64)[1:],
    "parameter": torch.nn.Parameter(torch.ones(1, 2, 3)),
    "scalar": torch.tensor(1.0),
    **{str(kind): torch.ones(2).to(kind) for kind in (torch.int8, torch.uint8, torch.float16, torch.bool)},
    "note": "no tensor",
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap", [dict, lambda state: {"state_dict": state, "epoch": 3, "optimizer": {0: [torch.ones(2), {1.5}]}}, lambda s: {"model": s}]
)
def test_shapes_are_those_that_torch_reads(wrap: Callable[[dict], dict], zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=zipped)
    with TensorFiles("field", [path]) as read:
        assert pickled_shapes(path) == {name: tuple(value.shape) for name, value in read.items()}
        assert pickled_types(path) == {name: str(value.dtype).removeprefix("torch.") for name, value in read.items()}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_tensors_that_torch_quantised_are_told_too(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    torch.save({"a": quantised, "b": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "x.pt")
    assert pickled_types(tmp_path / "x.pt") == {"a": "qint8", "b": "float8_e4m3fn"}


def test_a_modules_state_with_its_versions(tmp_path: Path) -> None:
    torch.save(torch.nn.BatchNorm1d(2).state_dict(), tmp_path / "x.bin")
    shapes = pickled_shapes(tmp_path / "x.bin")
    assert shapes == {"weight": (2,), "bias": (2,), "running_mean": (2,), "running_var": (2,), "num_batches_tracked": ()}


class Runs:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("run"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_names_other_classes_is_left_to_torch_and_not_run(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, content in enumerate(({**STATE, "other": Runs()}, torch.nn.Linear(2, 2))):
        torch.save(content, tmp_path / f"{number}.pt", _use_new_zipfile_serialization=zipped)
        assert stored_shapes("field", tmp_path / f"{number}.pt") is None
    with (tmp_path / "x.pt").open("wb") as file:
        pickle.dump({"a": Runs()}, file)
    assert stored_shapes("field", tmp_path / "x.pt") is None
    assert not (tmp_path / "run").exists()


def test_what_is_no_weights_is_refused_in_the_words_of_a_cells_start(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "program.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(STATE, tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    cut = {f"{size}.pt": whole[:size] for size in (0, 3, 200, len(whole) - 1)}
    cut |= {f"old-{size}.pt": (tmp_path / "old.pt").read_bytes()[:size] for size in (100, 300)}
    with (tmp_path / "plain.pt").open("wb") as file:
        pickle.dump({"a": 1}, file)
    for name, content in cut.items():
        (tmp_path / name).write_bytes(content)
    for name, words in {
        "program.pt": "is a TorchScript archive",
        "list.pt": "holds no tensors by name",
        **dict.fromkeys([*cut, "plain.pt"], "cannot be read as weights alone"),
    }.items():
        for read in (lambda path: stored_shapes("field", path), lambda path: TensorFiles("field", [path])):
            with pytest.raises(ConfigError, match=rf"^field: .*{name} {words}") as refused:
                pytest.fail(f"{name}: {read(tmp_path / name)}")
            assert "\n" not in str(refused.value)


def test_no_torch_is_needed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    code = (
        "import sys; from pathlib import Path; from fila_lab.config.pickled_header import pickled_shapes;"
        f"print(len(pickled_shapes(Path({str(tmp_path / 'x.pt')!r}))), 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(len(STATE) - 1), "False"]
