"""Who is who, stated anew: ids of cells, of data and of code, recomputed from their definitions."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import fila_lab
from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies import identity
from fila_lab.studies.identity import cell_id, changed_weights, code_hash, data_hash, known_sha256, shaping_files, weights_hashes

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def run(**fields: Any) -> RunConfig:
    return resolve_run("mini", RANDOM, {name.replace("__", "."): value for name, value in fields.items()})


def sha16(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def by_hand(config: RunConfig, **hashes: str) -> str:
    """The id by its definition. hashes: sha256 of weights that are files, by room."""
    fields = config.model_dump(mode="json")
    data, geometry = fields["data"], {key: fields["geometry"][key] for key in ("tile", "patch", "canvases", "canvas_rule")}
    items = {"train": data["train_pool"], "val": data["val_pool"], "test": data["test_triplets"]}
    pools = {
        split: sha16({"schema": 1, "seam": data["seam"], "geometry": geometry, "split": split, "items": number})
        for split, number in items.items()
    }
    shaping = sha16({split: [{"suite": "seam", "items": pool}] for split, pool in pools.items()})
    assert data_hash(config) == shaping
    del fields["preset"], data["workers"]
    for suite in (*data["train"], *data["evaluate"].values()):
        for path in ("path", "images", "definition"):
            del suite[path]
    for room, digest in hashes.items():
        fields[room]["weights"] = f"sha256:{digest}"
    return sha16({"schema": SCHEMA, "run": fields, "data": shaping})


def test_an_id_is_the_hash_of_schema_fields_and_data() -> None:
    for config in (
        run(),
        run(train__steps=7, fusion__name="addition"),
        run(data__seam__seed=3, fusion__name="none", geometry__vit_scale=2),
    ):
        assert cell_id(config) == by_hand(config)


def test_weights_files_stand_in_the_id_by_their_bytes(tmp_path: Path) -> None:
    tower, answers = tmp_path / "tower.safetensors", tmp_path / "answers.safetensors"
    tower.write_bytes(b"tower")
    answers.write_bytes(b"answers")
    config = run(convnext__weights=str(tower), language__weights=str(answers))
    hashes = {"convnext": hashlib.sha256(b"tower").hexdigest(), "language": hashlib.sha256(b"answers").hexdigest()}
    assert weights_hashes(config) == hashes
    assert cell_id(config) == by_hand(config, **hashes)


def test_a_towers_folder_is_the_hash_of_its_weights(tmp_path: Path) -> None:
    """One file is its bytes, wherever it lies; several are their names and bytes. What stands beside them is in the fields."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    said = {"vit__heads": 4, "vit__quick_gelu": False}
    alone = hashlib.sha256(b"weights").hexdigest()
    file, folder = (run(vit__weights=str(path), **said) for path in (tmp_path / "pytorch_model.bin", tmp_path))
    assert weights_hashes(file) == weights_hashes(folder) == {"vit": alone}
    assert cell_id(file) == cell_id(folder) == by_hand(folder, vit=alone)
    shards = {"model-1-of-2.safetensors": b"one", "model-2-of-2.safetensors": b"two"}
    for name, content in shards.items():
        (tmp_path / name).write_bytes(content)
    index = {"weight_map": {"a": "model-2-of-2.safetensors", "b": "model-1-of-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    lines = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in shards.items())
    assert weights_hashes(folder) == {"vit": hashlib.sha256(lines.encode()).hexdigest()}


def test_a_language_models_folder_is_the_hash_of_its_files_names_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["model.safetensors", *(f"part-{number}.bin" for number in (7, 2, 9, 4, 0, 8, 1, 6, 3, 5)), "config.json"]
    for name in names:
        (tmp_path / name).write_bytes(f"bytes of {name}".encode())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other").write_bytes(b"not of the model")
    config = run().model_copy(update={"language": run().language.model_copy(update={"weights": str(tmp_path)})})
    lines = [f"{name} {hashlib.sha256(f'bytes of {name}'.encode()).hexdigest()}\n" for name in sorted(names)]
    wanted = {"language": hashlib.sha256("".join(lines).encode()).hexdigest()}
    assert weights_hashes(config) == wanted
    assert cell_id(config) == by_hand(config, **wanted)
    (tmp_path / "config.json").write_bytes(b"another")
    assert weights_hashes(config) != wanted
    # `random` is a word, also where a folder has that name.
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    assert weights_hashes(run()) == {}


def test_missing_weights_are_named_by_their_field(tmp_path: Path) -> None:
    for room in ("vit", "convnext", "language"):
        with pytest.raises(ConfigError, match=rf"{room}\.weights = '.*gone\.safetensors': the weights file .* is missing"):
            cell_id(run(**{f"{room}__weights": str(tmp_path / "gone.safetensors")}))


def test_weights_that_change_while_a_cell_runs_are_said(tmp_path: Path) -> None:
    tower = tmp_path / "tower.safetensors"
    tower.write_bytes(b"tower")
    config = run(vit__weights=str(tower))
    expected = cell_id(config)
    assert changed_weights(expected, config) == ""
    tower.write_bytes(b"other weights")
    assert "put the former file back" in changed_weights(expected, config)
    tower.unlink()
    assert "put the file back" in changed_weights(expected, config)
    assert "missing" in changed_weights(expected, config)


def test_a_files_hash_follows_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for moment, content in enumerate((b"", b"one", b"two", b"longer than that")):
        path.write_bytes(content)
        os.utime(path, ns=(moment, moment))  # a clock may be coarser than two writes
        assert known_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("suites", [{"seam"}, {"llava"}, {"entity_grid"}, {"docvqa"}, {"benchmarks"}, {"seam", "llava", "pope", "vqav2"}])
def test_code_is_the_hash_of_the_files_that_cells_on_these_suites_can_run(suites: set[str]) -> None:
    """In their order; a benchmark more outdates no result on generated items."""
    package = Path(fila_lab.__file__).parent
    files = shaping_files(suites)
    assert files == sorted(files)
    names = {path.relative_to(package).as_posix() for path in files}
    assert {name for name in identity.SHAPING if name.endswith(".py")} <= names
    assert not names & set(identity.NOT_SHAPING)
    assert all((package / name).is_file() for name in identity.NOT_SHAPING), "what is left out is there to be left out"
    assert {"training/cell.py", "data/pool.py", "modeling/model.py", "evaluation/seam.py", "evaluation/scores/texts.py"} <= names
    others = {"seam", "llava", "entity_grid"}
    used = {**{wing: wing in suites for wing in others}, "benchmarks": bool(suites - others)}
    drawn = {f"data/seam/{name}.py" for name in ("content", "plates", "render")}
    for wing, there in used.items():
        assert any(name.startswith(f"data/{wing}/") for name in names - drawn) == there
    assert ("config/benchmarks/docvqa.yaml" in names) == ("evaluation/scores/letters.py" in names) == used["benchmarks"]
    assert bool(drawn & names) == (drawn <= names) == (used["seam"] or used["entity_grid"]), "what two wings share is any's that is used"
    assert ("evaluation/aggregates/base.py" in names) == (used["entity_grid"] or used["benchmarks"])
    assert shaping_files(sorted(suites)) == files, "of suites in whatever collection"
    lines = [f"{path.relative_to(package).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files]
    assert code_hash(suites) == hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
