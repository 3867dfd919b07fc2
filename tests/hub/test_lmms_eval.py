"""lmms-eval finds the model by its entry point and asks it as it asks any other: an own local task, offline, chat and simple."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_models import PICTURES, QUESTIONS

import fila_lab

HERE = find_spec("lmms_eval") is not None and find_spec("filelock._api") is not None
needs_lmms_eval = pytest.mark.skipif(not HERE, reason="lmms-eval is not installed, or not the filelock that it needs (extra `eval`)")
TASK = """
task: fila_local
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {table}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function local.shown
doc_to_text: !function local.asked
doc_to_messages: !function local.messages
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 12, temperature: 0, until: ["\\n\\n"]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""
LOCAL = """
def shown(doc):
    return [doc["image"].convert("RGB")]

def asked(doc, **_):
    return doc["question"]

def messages(doc, **_):
    return [{"role": "user", "content": [{"type": "image", "url": shown(doc)[0]}, {"type": "text", "text": doc["question"]}]}]
"""


@pytest.fixture(scope="module")
def task(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with the task, and the model's own answers, one of which the task takes for wrong."""
    path = tmp_path_factory.mktemp("task")
    loaded = fila_lab.load(folder)
    answers = [
        loaded.answer(image, question, max_new_tokens=12).split("\n\n")[0] for image, question in zip(PICTURES, QUESTIONS, strict=True)
    ]
    rows = []
    for number, (image, question) in enumerate(zip(PICTURES, QUESTIONS, strict=True)):
        held = io.BytesIO()
        image.save(held, "PNG")
        answer = answers[number] if number else "another"
        rows.append({"question": question, "answer": answer, "image": {"bytes": held.getvalue(), "path": f"{number}.png"}})
    table = pa.Table.from_pylist(rows)
    features = {"info": {"features": {"question": {"dtype": "string", "_type": "Value"}, "answer": {"dtype": "string", "_type": "Value"},
                                      "image": {"_type": "Image"}}}}  # fmt: skip
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path / "test.parquet")
    (path / "local.py").write_text(LOCAL, encoding="utf-8")
    (path / "fila_local.yaml").write_text(TASK.format(table=path / "test.parquet"), encoding="utf-8")
    return path, answers


def entry_point(folder: Path) -> Path:
    """The package's declared entry points, where an installed package has them."""
    declared = tomllib.loads((Path(fila_lab.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    info = folder / "fila_lab_points-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fila-lab-points\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "\n".join(["[lmms_eval.models]", *(f"{k} = {v}" for k, v in declared["lmms_eval.models"].items())]),
        encoding="utf-8",
    )
    return folder


@needs_lmms_eval
@pytest.mark.slow
@pytest.mark.parametrize("how", ["chat", "simple", "two processes"])
def test_the_printed_table_is_what_the_answers_are_worth(how: str, task: tuple[Path, list[str]], folder: Path, tmp_path: Path) -> None:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if how == "two processes" else []
    command = [sys.executable, *several, "-m", "lmms_eval", "--model", "fila", "--model_args", f"pretrained={folder}", "--batch_size", "2"]
    command += ["--tasks", "fila_local", "--include_path", str(task[0]), "--log_samples", "--output_path", str(tmp_path / "out")]
    command += ["--force_simple"] if how == "simple" else []
    where = os.pathsep.join([str(Path(fila_lab.__file__).parents[1]), str(entry_point(tmp_path))])
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": where}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figure = re.search(r"exact_match\s*\|[^|]*\|\s*([0-9.]+)", done.stdout)
    assert figure is not None, done.stdout
    assert float(figure[1]) == pytest.approx(2 / 3, abs=1e-3)
    (samples,) = (tmp_path / "out").rglob("*samples*.jsonl")
    said = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert [row["filtered_resps"] for row in sorted(said, key=lambda row: row["doc_id"])] == task[1]


@needs_lmms_eval
@pytest.mark.slow
def test_settings_of_a_task_reach_generation() -> None:
    from fila_lab.hub.lmms_models import FilaChat, FilaSimple, cut, generation

    assert generation({"until": ["\n"], "max_new_tokens": 5, "temperature": 0, "top_p": None, "num_beams": 2}) == {
        "max_new_tokens": 5, "num_beams": 2, "do_sample": False,
    }  # fmt: skip
    assert generation({"temperature": 0.7, "top_p": 0.9}) == {"temperature": 0.7, "top_p": 0.9, "do_sample": True}
    assert generation({"temperature": 0.7, "do_sample": False}) == {"do_sample": False}
    assert cut("a\nb\n\nc", ["\n\n", "b", ""]) == "a\n"
    with pytest.raises(ValueError, match="batch_size"):
        FilaChat("nowhere", batch_size="auto")
    asker = FilaSimple.__new__(FilaSimple)
    asker.task_dict = {"t": {"test": [{"image": 1}]}}
    request: Any = SimpleNamespace(args=("<image>\nWhat?", {}, lambda doc: [doc["image"], None], 0, "t", "test"))
    content = [{"type": "image", "image": 1}, {"type": "text", "text": "What?"}]
    assert asker._messages(request) == [{"role": "user", "content": content}]
    with pytest.raises(NotImplementedError, match="generate_until"):
        asker.loglikelihood([])
