"""A trained cell asked a benchmark afterwards gives the answers that it gave as a cell, and they are worth the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_run import tiny
from typer.testing import CliRunner

from fila_lab.cli.verbs import app
from fila_lab.config.benchmark import BENCHMARKS
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.data.seam.export import export
from fila_lab.training import CellOutcome, run_cell
from fila_lab.training import evaluate as module

FEATURES: dict[str, Any] = {"fusion__name": "concat", "train__steps": 3, "train__validate_every": 3}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> tuple[Path, Path, CellOutcome]:
    """(the cell's folder, DocVQA's files, of 9 questions one without its image, and what the cell itself made of them)."""
    folder = tmp_path_factory.mktemp("evaluate")
    config = tiny()
    export(config.data.seam, config.geometry, "val", 8, folder / "docvqa")
    rows = json.loads((folder / "docvqa" / "val.json").read_text(encoding="utf-8"))
    questions = [
        {
            "questionId": number,
            "question": row["conversations"][0]["value"].removeprefix("<image>\n"),
            "answers": [row["conversations"][1]["value"]],
            "image": row["image"],
            "question_types": ["others"],
        }
        for number, row in enumerate(rows)
    ]
    questions.append({**questions[0], "questionId": 99, "image": "images/gone.png"})
    (folder / "docvqa" / "val_v1.0_withQT.json").write_text(json.dumps({"data": questions}), encoding="utf-8")
    test = {"docvqa": {"path": str(folder / "docvqa")}}
    own = tiny(**FEATURES, data__evaluate=test, data__bad_rows=0.5, data__workers=0)
    outcome = run_cell(own, workdir=folder / "cell", cache_dir=cache_dir, checkpoint=folder / "cell" / TRAINED_PARTS)
    assert outcome.result["failure"] is None, outcome.result["failure"]
    return folder / "cell", folder / "docvqa", outcome


@pytest.fixture
def command(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FILA_LAB_CACHE", str(cache_dir))

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["evaluate", *words])

    return run


def test_the_answers_and_figures_are_the_cell_s_own(asked: Any, command: Any, tmp_path: Path) -> None:
    cell, files, outcome = asked
    out = tmp_path / "told.jsonl"
    done = command(str(cell), "--benchmark", f"docvqa={files}", "--out", str(out), "--workers", "0")
    assert done.exit_code == 0, done.output
    assert outcome.predictions is not None
    said = {line["id"]: line["prediction"] for line in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    assert said == dict(zip(outcome.predictions["item_id"], outcome.predictions["prediction"], strict=True))
    for words in ("docvqa: 8 questions asked", "1 rows cannot be used (1 missing image)", "gone.png", "anls", "others"):
        assert words in done.output, words
    told = command(str(cell), "--benchmark", f"docvqa={files}", "--json", "--workers", "0")
    found = json.loads(told.stdout)["benchmarks"]["docvqa"]
    assert (found["asked"], found["set_aside"]) == (8, {"missing image": 1})
    assert {name: found[name] for name in ("cut_off", "empty")} == {
        name: outcome.result["answers"]["docvqa"][name] for name in ("cut_off", "empty")
    }
    assert (f"{found['empty']} answers say nothing" in done.output) == (2 * found["empty"] > 8)
    own = outcome.result["benchmarks"]["docvqa"]
    assert found["figures"] == {name: pytest.approx(value) for name, value in own.items() if name != "n"}
    scored = CliRunner().invoke(app, ["score", "docvqa", "--data", str(files), "--predictions", str(out), "--json"])
    assert json.loads(scored.stdout)["figures"] == found["figures"]


def test_a_definition_of_one_s_own_several_at_once_and_the_first_questions(asked: Any, command: Any, tmp_path: Path) -> None:
    cell, files, _ = asked
    mine = tmp_path / "mine.yaml"
    mine.write_text("score: exact_nocase\nfile: mine.json\nfields: {id: id, question: q, answers: a, image: image}\n", encoding="utf-8")
    rows = json.loads((files / "val.json").read_text(encoding="utf-8"))
    content = [{"id": row["id"], "q": "red?", "a": row["conversations"][1]["value"], "image": row["image"]} for row in rows]
    (files / "mine.json").write_text(json.dumps(content), encoding="utf-8")
    both = ("--benchmark", f"{mine}={files}", "--benchmark", f"docvqa={files}")
    done = command(str(cell), *both, "--limit", "3", "--out", str(tmp_path / "all"), "--workers", "0")
    assert done.exit_code == 0, done.output
    assert {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (tmp_path / "all").iterdir()} == {
        "mine.jsonl": 3,
        "docvqa.jsonl": 3,
    }
    assert "mine: 3 questions asked" in done.output
    kept = (tmp_path / "all" / "mine.jsonl").read_bytes()
    again = command(str(cell), *both, "--out", str(tmp_path / "all"), "--workers", "0")
    assert again.exit_code == 2
    assert "is there already, and is not written over" in again.output
    assert (tmp_path / "all" / "mine.jsonl").read_bytes() == kept
    one = command(str(cell), *both, "--out", str(tmp_path / "one.jsonl"))
    assert "is one file for 2 benchmarks" in one.output


def test_the_bare_question_can_be_asked(asked: Any, command: Any, tmp_path: Path) -> None:
    """As a definition with that ending asks it."""
    cell, files, _ = asked
    shipped = (BENCHMARKS / "docvqa.yaml").read_text(encoding="utf-8")
    bare = tmp_path / "docvqa.yaml"
    bare.write_text("\n".join(line for line in shipped.splitlines() if not line.startswith("ending:")), encoding="utf-8")
    for name, words in (("set", (f"docvqa={files}", "--ending", "")), ("own", (f"{bare}={files}",))):
        done = command(str(cell), "--workers", "0", "--out", str(tmp_path / f"{name}.jsonl"), "--benchmark", *words)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "set.jsonl").read_bytes() == (tmp_path / "own.jsonl").read_bytes()


def test_a_cell_without_its_trained_parts_and_files_that_are_not_there(asked: Any, command: Any, tmp_path: Path) -> None:
    cell, files, _ = asked
    bare = command(str(tmp_path), "--benchmark", f"docvqa={files}")
    assert bare.exit_code == 2
    assert "there is no model.safetensors" in bare.output
    assert "checkpoints=False" in bare.output
    gone = command(str(cell), "--benchmark", f"docvqa={tmp_path / 'gone'}")
    assert gone.exit_code == 2
    assert "docvqa" in gone.output
    assert "gone" in gone.output
    save_file({"weight": torch.ones(1)}, tmp_path / TRAINED_PARTS)
    foreign = command(str(tmp_path), "--benchmark", f"docvqa={files}")
    assert foreign.exit_code == 2
    assert "it holds no run's configuration" in foreign.output


def test_what_cannot_be_judged_or_kept_is_known_before_anything_is_asked(asked: Any, command: Any, tmp_path: Path) -> None:
    """The definition's own path holds an =."""
    cell, files, _ = asked
    two = tmp_path / "a=b" / "two.yaml"
    two.parent.mkdir()
    said = "file: val_v1.0_withQT.json\nrows: data\nfields: {id: questionId, question: question, answers: answers, image: image}\n"
    asking = ("--benchmark", f"{two}={files}", "--workers", "0")
    for rule, words in (
        ("score: vqa\n", "data.evaluate.two: answers: VQA accuracy leaves one annotator out, so it needs at least 2 answers"),
        ("score: anls\naggregate: mme\n", "data.evaluate.two: rows: no column category, question_id"),
    ):
        two.write_text(rule + said, encoding="utf-8")
        stopped = command(str(cell), *asking, "--out", str(tmp_path / "all"))
        assert stopped.exit_code == 2
        assert words in stopped.output
        assert not (tmp_path / "all").exists()
    two.write_text("score: anls\n" + said, encoding="utf-8")
    refused = command(str(cell), *asking, "--out", str(two))
    assert refused.exit_code == 2
    assert f"{two} is no folder" in refused.output
    done = command(str(cell), *asking, "--out", str(tmp_path / "all"))
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "all" / "two.jsonl").read_text(encoding="utf-8").splitlines()) == 8


def test_answers_to_one_benchmark_outlast_what_happens_at_the_next(
    asked: Any, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, files, _ = asked
    two = tmp_path / "two.yaml"
    said = "file: val_v1.0_withQT.json\nrows: data\nfields: {id: questionId, question: question, answers: answers, image: image}\n"
    two.write_text("score: anls\n" + said, encoding="utf-8")
    judge, judged = module.predictions_frame, []

    def stopping(*answers: Any) -> Any:
        if judged:
            raise KeyboardInterrupt
        judged.append(answers)
        return judge(*answers)

    monkeypatch.setattr(module, "predictions_frame", stopping)
    both = ("--benchmark", f"docvqa={files}", "--benchmark", f"{two}={files}", "--workers", "0")
    stopped = command(str(cell), *both, "--out", str(tmp_path / "all"))
    assert stopped.exit_code != 0
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["docvqa.jsonl"]


def test_images_without_a_readable_header_are_counted_and_the_others_asked(asked: Any, command: Any) -> None:
    cell, files, _ = asked
    rows = json.loads((files / "val_v1.0_withQT.json").read_text(encoding="utf-8"))["data"]
    page = files / rows[0]["image"]
    whole = page.read_bytes()
    try:
        for content in (b"", b"no image", whole[:40]):
            page.write_bytes(content)
            done = command(str(cell), "--benchmark", f"docvqa={files}", "--json", "--workers", "0")
            assert done.exit_code == 0, done.output
            found = json.loads(done.stdout)["benchmarks"]["docvqa"]
            assert (found["asked"], found["set_aside"]) == (7, {"missing image": 1, "damaged image": 1})
    finally:
        page.write_bytes(whole)
