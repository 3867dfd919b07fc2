"""Tensors are read as data, whatever wrote them, and nothing in a file is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fila_lab.config import ConfigError
from fila_lab.modeling.tensor_files import TensorFiles

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s, "optimizer": {"lr": 0.1}}])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_wrote_is_read_by_name(wrap, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(wrap({f"module.{name}": value for name, value in STATE.items()}), path, _use_new_zipfile_serialization=zipped)
    with TensorFiles("field", [path]) as read:
        assert set(read) == set(STATE)
        assert all(torch.equal(read[name], value) for name, value in STATE.items())


def test_several_files_are_one_state(tmp_path: Path) -> None:
    for number, (name, value) in enumerate(STATE.items()):
        save_file({name: value}, tmp_path / f"{number}.safetensors", {"fact": "x"})
    with TensorFiles("field", sorted(tmp_path.iterdir())) as read:
        assert list(read) == list(STATE)
        assert read.metadata == {"fact": "x"}


class Runs:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("run"),)


def test_programs_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "x.bin").open("wb") as file:
        pickle.dump({"a": Runs()}, file)
    torch.save({"a": Runs()}, tmp_path / "y.pt")
    for name in ("x.bin", "y.pt"):
        with pytest.raises(ConfigError, match=r"^field: .* cannot be read as weights alone"):
            TensorFiles("field", [tmp_path / name])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("content", "words"), [({"epoch": 3}, "holds no tensors by name"), ([1, 2], "holds no tensors by name")])
def test_what_holds_no_tensors_is_refused(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match=words):
        TensorFiles("field", [tmp_path / "x.pt"])


def test_an_archive_of_a_program_is_named(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "x.pt"))
    with pytest.raises(ConfigError, match=r"TorchScript archive, which holds a program; give the library's tag"):
        TensorFiles("field", [tmp_path / "x.pt"])
    for cut in (0, 3, 200):
        (tmp_path / "y.pt").write_bytes((tmp_path / "x.pt").read_bytes()[:cut])
        with pytest.raises(ConfigError, match="cannot be read as weights alone"):
            TensorFiles("field", [tmp_path / "y.pt"])
