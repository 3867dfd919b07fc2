"""`fila-lab save`: what it writes, what it refuses, and that nothing of anybody's is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_models import PICTURES, QUESTIONS, asked, make_model, small
from typer.testing import CliRunner

import fila_lab
from fila_lab.cli.verbs import app
from fila_lab.config.saved import SAVED, read_saved
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.modeling import build_model
from fila_lab.training.cell import weights_used
from fila_lab.training.trained import load_trained, save_trained


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained cell's folder."""
    folder = tmp_path_factory.mktemp("cells") / "0123456789abcdef"
    model = make_model()
    save_trained(model, model.config, folder / TRAINED_PARTS)
    return folder


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, ["save", *map(str, words)])


def test_a_saved_cell_answers_as_the_cell_does(cell: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model"
    done = run(cell, "--to", out)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"saved: {out} (")
    mark = read_saved(out)
    assert mark is not None
    assert mark.cell == cell.name
    assert {path.name for path in out.iterdir()} == {*mark.files, SAVED}
    assert {"config.json", "generation_config.json", "model.safetensors", "processor_config.json", "chat_template.jinja"} < set(mark.files)
    model = load_trained(cell).eval()
    wanted = model.answer(asked(model, PICTURES[1], QUESTIONS[1]), model.config.language.answer_tokens)[0].text
    for source in (out, cell):
        assert fila_lab.load(source).answer(PICTURES[1], QUESTIONS[1]) == wanted
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    assert len({path.stat().st_mode for path in [*out.iterdir(), cell / TRAINED_PARTS]}) == 1  # whoever reads one can read all


def test_an_earlier_save_is_replaced_and_what_is_not_ours_stays(cell: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert run(cell, "--to", out).exit_code == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = (out / "model.safetensors").read_bytes()
    again = run(cell, "--to", out)
    assert again.exit_code == 0, again.output
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (out / "model.safetensors").read_bytes() == before


def test_what_somebody_changed_is_not_replaced(cell: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert run(cell, "--to", out).exit_code == 0
    (out / "README.md").write_text("my words", encoding="utf-8")
    again = run(cell, "--to", out)
    assert again.exit_code == 2
    assert "README.md changed since it was saved" in again.output
    assert (out / "README.md").read_text(encoding="utf-8") == "my words"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_refused(cell: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    for name, words in (("thesis", "did not write"), ("file", "is a file"), ("link", "symbolic link")):
        done = run(cell, "--to", tmp_path / name)
        assert done.exit_code == 2
        assert words in done.output
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["config.json"]
    (tmp_path / "thesis" / SAVED).write_text("{}", encoding="utf-8")
    assert f"({SAVED} is not its mark)" in run(cell, "--to", tmp_path / "thesis").output
    for target in (cell, cell / "model", cell.parent, Path.cwd(), Path.cwd().parent):
        assert run(cell, "--to", target).exit_code == 2
    assert [path.name for path in cell.iterdir()] == [TRAINED_PARTS]


def test_what_is_no_cell_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "saved").mkdir()
    for name in ("config.json", TRAINED_PARTS):
        (tmp_path / "saved" / name).touch()
    for name, words in (("gone", "no such folder"), ("cell", f"there is no {TRAINED_PARTS}"), ("saved", "is a saved model already; copy")):
        done = run(tmp_path / name, "--to", tmp_path / "out")
        assert done.exit_code == 2
        assert words in done.output
    model = make_model()
    save_trained(model, model.config, tmp_path / "other" / TRAINED_PARTS)
    weights = weights_used(model.config, model) | {"convnext": "0" * 64}
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({"weights": weights}), encoding="utf-8")
    assert "convnext.weights='random' is not what the cell was trained from" in run(tmp_path / "other", "--to", tmp_path / "out").output
    config = small(fusion__control="oracle_map")
    save_trained(build_model(config), config, tmp_path / "truth" / TRAINED_PARTS)
    assert "truth maps" in run(tmp_path / "truth", "--to", tmp_path / "out").output
    assert not (tmp_path / "out").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_chat_answers_a_line_after_the_other(cell: Path, tmp_path: Path) -> None:
    for number, image in enumerate(PICTURES[:2]):
        image.save(tmp_path / f"{number}.png")
    model = load_trained(cell).eval()
    wanted = [model.answer(asked(model, image, "red?"), model.config.language.answer_tokens)[0].text for image in PICTURES[:2]]
    lines = f"red?\n\n/image {tmp_path / '1.png'}\nred?\n/image {tmp_path / 'gone.png'}\nred?\n/what\n/end\nnot read\n"
    done = CliRunner().invoke(app, ["chat", str(cell), str(tmp_path / "0.png")], input=lines)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == "\n".join([wanted[0], wanted[1], wanted[1]]).splitlines()
    assert "does not exist" in done.stderr
    assert "/image FILE" in done.stderr
    assert CliRunner().invoke(app, ["chat", str(tmp_path / "gone"), str(tmp_path / "0.png")]).exit_code == 2
    done = CliRunner().invoke(app, ["chat", str(cell), str(tmp_path / "0.png")], input="what " * 500 + f"\n{'?' * 2100}\nred?\n")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("at most 2048 are read") == 2  # the next question is answered all the same
    assert done.stdout.splitlines() == wanted[0].splitlines()
    assert CliRunner().invoke(app, ["chat", str(cell), str(tmp_path / "gone.png")]).exit_code == 2


def test_predict_and_evaluate_ask_a_saved_model_as_they_ask_the_cell(cell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "model"
    assert run(cell, "--to", out).exit_code == 0
    rows = []
    for number, (image, question) in enumerate(zip(PICTURES, QUESTIONS, strict=True)):
        image.save(tmp_path / f"{number}.png")
        rows.append({"id": number, "image": f"{number}.png", "question": question, "answers": ["x"]})
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = "file: own.jsonl\nscore: anls\nfields: {id: id, image: image, question: question, answers: answers}\n"
    (tmp_path / "own.yaml").write_text(words, encoding="utf-8")
    said = {}
    for name, source in (("cell", cell), ("saved", out)):
        asking = ["evaluate", source, "--benchmark", f"{tmp_path / 'own.yaml'}={tmp_path / 'own.jsonl'}", "--workers", "0"]
        done = CliRunner().invoke(app, list(map(str, [*asking, "--out", tmp_path / f"{name}.jsonl"])))
        assert done.exit_code == 0, done.output
        drawn = CliRunner().invoke(
            app, list(map(str, ["predict", tmp_path / "0.png", QUESTIONS[0], "--cell", source, "--out", tmp_path / name]))
        )
        assert drawn.exit_code == 0, drawn.output
        said[name] = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8"), drawn.stdout.split("\ntiles")[0]
    assert said["cell"] == said["saved"]
