"""Training in stages: what trains when, killed anywhere and gone on, first stages shared by cells, forward passes that share a step."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tiny_run import tiny

from fila_lab.config import RunConfig
from fila_lab.config.journal import JOURNAL, JournalReader
from fila_lab.config.stage_runs import stages_of
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.modeling import build_model
from fila_lab.training import FilaModule, fit, run_cell, train_shared
from fila_lab.training.checkpoints import FOLDER
from fila_lab.training.data import TRAIN, open_stages, stage_features
from fila_lab.training.record import Recorder
from fila_lab.training.stage_ends import END
from fila_lab.training.trained import load_trained, trained_parts

ALIGN: dict[str, Any] = {"name": "align", "trains": ["projector", "fusion"], "steps": 4, "learning_rate": 1e-3}
INSTRUCT: dict[str, Any] = {
    "name": "instruct",
    "trains": ["projector", "fusion", "language"],
    "steps": 5,
    "learning_rate": {"projector": 1e-3, "fusion": 1e-3, "language": 1e-4},
    "schedule": "linear",
}
SMALL = {"fusion__name": "addition", "train__log_every": 2, "train__validate_every": 3, "data__val_items": 10, "data__test_triplets": 4}


def staged(*stages: dict[str, Any], **overrides: Any) -> RunConfig:
    return tiny(**SMALL | overrides, train__stages=list(stages))


def table(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("status", "metrics", "validation", "curve", "failure")}


class CutOff(Callback):
    """In a stage, saves a checkpoint after a step if so wished, and ends the cell there as a kill would."""

    def __init__(self, folder: str, hook: str, step: int, saves: bool) -> None:
        def cut(trainer: Trainer, *_: object) -> None:
            here = Path(trainer.default_root_dir)
            if here.name == folder and trainer.global_step == step:
                if saves:
                    trainer.save_checkpoint(here / FOLDER / "last.ckpt")
                raise KeyboardInterrupt

        setattr(self, hook, cut)


def with_callback(callback: Callback, act: Callable[[], Any]) -> None:
    make = fit.make_trainer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "make_trainer", lambda config, workdir, *callbacks: make(config, workdir, *callbacks, callback))
        with pytest.raises(KeyboardInterrupt):
            act()


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the Trainers that are made: a stage each."""
    made: list[str] = []
    make = fit.make_trainer

    def noted(config: RunConfig, workdir: Path, *callbacks: Callback) -> Trainer:
        made.append(workdir.name)
        return make(config, workdir, *callbacks)

    monkeypatch.setattr(fit, "make_trainer", noted)
    return made


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training steps that are made."""
    made: list[int] = []
    step = FilaModule.training_step

    def noted(self: FilaModule, batch: Any, batch_idx: int) -> torch.Tensor:
        made.append(batch_idx)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FilaModule, "training_step", noted)
    return made


@pytest.fixture(scope="module")
def folder(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the undisturbed run leaves: trained parts and, in `work`, the end of its first stage."""
    folder = tmp_path_factory.mktemp("staged")
    config = staged(ALIGN, INSTRUCT)
    result = run_cell(config, workdir=folder / "work", cache_dir=cache_dir, checkpoint=folder / TRAINED_PARTS).result
    torch.save(table(result), folder / "result.pt")
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = torch.load(folder / "result.pt", weights_only=True)
    return result


def test_steps_count_on_and_points_name_their_stage(undisturbed: dict[str, Any], folder: Path) -> None:
    assert undisturbed["failure"] is None
    curve = [(point["step"], point["stage"], point["validation"] is not None) for point in undisturbed["curve"]]
    assert curve == [
        (2, "align", False),
        (3, "align", True),
        (4, "align", False),
        (6, "instruct", False),
        (7, "instruct", True),
        (8, "instruct", False),
        (9, "instruct", False),
    ]
    assert all(isinstance(point["validation_loss"], float) == (point["validation"] is not None) for point in undisturbed["curve"])
    told = [(entry["step"], entry["validation_loss"]) for entry in JournalReader(folder / "work" / JOURNAL).new() if "validation" in entry]
    assert told == [(point["step"], point["validation_loss"]) for point in undisturbed["curve"] if point["validation"] is not None]
    rates = {point["step"]: point["learning_rate"] for point in undisturbed["curve"]}
    assert rates[4] == pytest.approx(0)
    assert rates[6] == pytest.approx(1e-3 * 3 / 4)  # a line from the first step's rate to zero
    assert rates[9] == pytest.approx(0)


def test_a_stage_trains_what_it_names_and_nothing_else(folder: Path) -> None:
    config = staged(ALIGN, INSTRUCT)
    fresh = build_model(config)
    before = {name: value.detach() for name, value in fresh.named_parameters()}
    _, align = trained_parts(folder / "work" / fit.STAGES / "align" / END)
    _, whole = trained_parts(folder)
    parts = fresh.parts()
    named = {part: {name for name, _ in own} for part, own in parts.items()}
    assert align.keys() == named["projector"] | named["fusion"]
    assert whole.keys() == align.keys() | named["language"]
    assert all(not torch.equal(value, before[name]) for name, value in align.items())
    assert all(not torch.equal(value, (align | before)[name]) for name, value in whole.items() if name not in align)
    assert all(torch.equal(value, whole[name]) for name, value in load_trained(folder).named_parameters() if name in whole)


MORE = [
    ("align", "on_train_batch_end", 4, True),
    ("align", "on_train_batch_end", 2, True),
    ("align", "on_train_end", 4, True),
    ("instruct", "on_train_start", 0, False),
    ("instruct", "on_train_batch_end", 1, False),
    ("instruct", "on_train_end", 5, True),
]
HOOKS = [("instruct", "on_train_batch_end", 3, True)]


@pytest.mark.parametrize(("stage", "hook", "step", "saves"), [*HOOKS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)])
def test_a_cell_that_is_cut_off_in_any_stage_ends_as_if_it_had_not_been(
    stage: str,
    hook: str,
    step: int,
    saves: bool,
    cache_dir: Path,
    tmp_path: Path,
    undisturbed: dict[str, Any],
    trainers: list[str],
    steps: list[int],
) -> None:
    """No step that lies behind a checkpoint, or the end of a stage, is made again."""
    config = staged(ALIGN, INSTRUCT)
    with_callback(CutOff(stage, hook, step, saves), lambda: run_cell(config, workdir=tmp_path, cache_dir=cache_dir))
    trainers.clear()
    steps.clear()
    assert table(run_cell(config, workdir=tmp_path, cache_dir=cache_dir).result) == undisturbed
    assert trainers == (["align", "instruct"] if stage == "align" else ["instruct"])
    behind = (4 if stage == "instruct" else 0) + (step if saves else 0)
    assert len(steps) == 9 - behind
    assert not list(tmp_path.rglob("*.unreadable-*")), "it went on from its checkpoint"


def test_the_loss_of_validation_is_the_mean_over_answer_tokens_row_by_row(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = staged(ALIGN, INSTRUCT, train__eval_batch_size=4)
    module = FilaModule.from_config(config, detail_branch=False)
    pools = open_stages(config, cache_dir, ("train", "val"))
    data = fit.Fit(config, module, Recorder(1, None, 1, 1), Path(), pools, stage_features(config, pools, cache_dir)).data[0]
    logged: dict[str, float] = {}
    monkeypatch.setattr(FilaModule, "log", lambda self, name, value: logged.update({name: float(value)}))
    batches = list(data.val_dataloader())
    before = torch.random.get_rng_state()
    with torch.no_grad():
        module.on_validation_epoch_start()
        for number, batch in enumerate(batches):
            module.validation_step(batch, number)
        module.on_validation_epoch_end()
        alone = [data.collators["val"](data.rows["val"][[row]], training=True) for row in range(len(data.rows["val"]))]
        losses = [module.model(module.seen(batch.vision), batch.labels) for batch in alone]
    assert torch.equal(torch.random.get_rng_state(), before), "the streams of training go on as without it"
    tokens = [len(output.logits) for output in losses]
    mean = sum(float(output.loss) * count for output, count in zip(losses, tokens, strict=True)) / sum(tokens)
    assert logged["validation_loss"] == pytest.approx(mean, rel=1e-5)
    assert logged.keys() == {"validation", "validation_loss"}


@pytest.mark.slow
def test_one_stage_of_all_that_trains_is_the_run_without_stages(cache_dir: Path, tmp_path: Path) -> None:
    plain = tiny(**SMALL, train__steps=5)
    only = staged({"name": "only", "trains": ["fusion", "projector", "language"], "steps": 5})
    one, other = (run_cell(run, workdir=tmp_path / run.preset / str(n), cache_dir=cache_dir).result for n, run in enumerate((plain, only)))
    for point in other["curve"]:
        assert point.pop("stage") == "only"
        assert (point.pop("validation_loss") is None) == (point["validation"] is None)
    assert table(one) == table(other)


@pytest.mark.slow
def test_shared_stages_are_trained_once(
    cache_dir: Path, tmp_path: Path, folder: Path, undisturbed: dict[str, Any], trainers: list[str]
) -> None:
    """By one of two cells that differ in what comes later; the other goes on from there, to the numbers that it has by itself."""
    later = staged(ALIGN, INSTRUCT | {"steps": 2, "learning_rate": 5e-4})
    final = tmp_path / "cache" / "stages" / "0123456789abcdef"
    outcome = train_shared(later, workdir=tmp_path / "shared", cache_dir=cache_dir, number=0, final=final)
    assert (outcome.result["failure"], trainers) == (None, ["align"])
    assert train_shared(later, workdir=tmp_path / "again", cache_dir=cache_dir, number=0, final=final).result["failure"] is None
    assert trainers == ["align"]
    cell = staged(ALIGN, INSTRUCT)
    outcome = run_cell(cell, workdir=tmp_path / "cell", cache_dir=cache_dir, ends=(final,))
    assert (table(outcome.result), trainers) == (undisturbed, ["align", "instruct"])
    assert outcome.result["timing"]["train_steps"] > 0
    begun = {"id": final.name, "stages": ["align"]}
    assert outcome.provenance["shared_stages"] == begun
    cut = CutOff("instruct", "on_train_batch_end", 3, saves=True)
    with_callback(cut, lambda: run_cell(cell, workdir=tmp_path / "cut", cache_dir=cache_dir, ends=(final,)))
    assert run_cell(cell, workdir=tmp_path / "cut", cache_dir=cache_dir).provenance["shared_stages"] == begun, "told by the checkpoint"
    assert "shared_stages" not in run_cell(cell, workdir=folder / "work", cache_dir=cache_dir).provenance, "its own end is its own"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["damaged", "other"])
def test_an_end_that_cannot_be_trusted_is_not_used(
    how: str, folder: Path, cache_dir: Path, tmp_path: Path, trainers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    end = folder / "work" / fit.STAGES / "align" / END
    copy = tmp_path / "end"
    copy.mkdir()
    for path in end.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    stages = (ALIGN, INSTRUCT | {"steps": 1})
    if how == "damaged":
        content = bytearray((copy / TRAINED_PARTS).read_bytes())
        content[-1] ^= 1
        (copy / TRAINED_PARTS).write_bytes(content)
    else:
        stages = (ALIGN | {"learning_rate": 5e-4}, INSTRUCT | {"steps": 1})
    with caplog.at_level(logging.WARNING, "fila_lab"):
        assert run_cell(staged(*stages), workdir=tmp_path / "cell", cache_dir=cache_dir, ends=(copy,)).result["failure"] is None
    assert trainers == ["align", "instruct"]
    told = [record.getMessage() for record in caplog.records if "the end of a training stage" in record.getMessage()]
    assert len(told) == 1
    assert ("holds other bytes" if how == "damaged" else "of other stages") in told[0]


def test_a_search_may_stop_a_cell_in_its_first_stage(cache_dir: Path, tmp_path: Path, trainers: list[str]) -> None:
    asked: list[int] = []

    def stop(step: int, value: float) -> bool:
        asked.append(step)
        return True

    result = run_cell(staged(ALIGN, INSTRUCT), workdir=tmp_path, cache_dir=cache_dir, stop=stop).result
    assert (result["status"], result["pruned"]["step"], asked, trainers) == ("pruned", 3, [3], ["align"])


def test_a_diverging_stage_names_its_field(cache_dir: Path, tmp_path: Path) -> None:
    wild = INSTRUCT | {"learning_rate": 1e30, "schedule": "constant", "warmup": 0.0}
    result = run_cell(staged(ALIGN | {"steps": 1}, wild), workdir=tmp_path, cache_dir=cache_dir).result
    assert result["failure"]["kind"] == "not_finite"
    assert "in stage 'instruct'; lower train.stages.1.learning_rate (now projector 1e+30" in result["failure"]["message"]


@pytest.mark.parametrize("rows", [37, pytest.param(40, marks=pytest.mark.slow)])
def test_passes_that_share_a_step_are_one_batch(rows: int, cache_dir: Path, tmp_path: Path) -> None:
    """The same rows, the same loss: a mean over all answer tokens, whatever number of them each pass has, in epochs' last batches too."""
    common = {"runtime__precision": "fp32", "train__steps": 4, "train__log_every": 1, "data__train_items": rows}
    whole = tiny(**SMALL | common, train__batch_size=16)
    parts = tiny(**SMALL | common, train__batch_size=4, train__accumulate=4)
    results, states = [], []
    for number, config in enumerate((whole, parts)):
        folder = tmp_path / str(number)
        outcome = run_cell(config, workdir=folder / "work", cache_dir=cache_dir, test=False, checkpoint=folder / TRAINED_PARTS)
        assert outcome.result["failure"] is None
        results.append(outcome.result)
        states.append(trained_parts(folder)[1])
    one, other = ([point["loss"] for point in result["curve"]] for result in results)
    assert other == pytest.approx(one, rel=1e-5)
    assert [point["step"] for point in results[1]["curve"]] == list(range(1, 5))
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-5)
    assert [point["validation"] is None for point in results[1]["curve"]] == [point["validation"] is None for point in results[0]["curve"]]


@pytest.mark.slow
def test_a_checkpoint_lies_between_steps(cache_dir: Path, tmp_path: Path) -> None:
    """Killed amid the passes of a step, the cell begins that step anew, with its own rows."""
    config = tiny(**SMALL, train__steps=4, train__batch_size=4, train__accumulate=3, runtime__checkpoint_minutes=1e-9)
    whole = run_cell(config, workdir=tmp_path / "whole", cache_dir=cache_dir).result

    class AmidAStep(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: object, batch: object, batch_idx: int) -> None:
            if batch_idx == 7:  # the second pass of the third step
                raise KeyboardInterrupt

    with_callback(AmidAStep(), lambda: run_cell(config, workdir=tmp_path / "cut", cache_dir=cache_dir))
    assert torch.load(tmp_path / "cut" / FOLDER / "last.ckpt", weights_only=True)["global_step"] == 2
    assert table(run_cell(config, workdir=tmp_path / "cut", cache_dir=cache_dir).result) == table(whole)


@pytest.mark.slow
def test_epochs_become_steps_by_the_rows(cache_dir: Path, tmp_path: Path) -> None:
    epochs = {name: value for name, value in ALIGN.items() if name != "steps"} | {"epochs": 1.5}
    config = staged(epochs, INSTRUCT | {"steps": 1})
    result = run_cell(config, workdir=tmp_path, cache_dir=cache_dir).result
    pools = open_stages(config, cache_dir, ("train", "val"))
    counts = pools[0][TRAIN].meta["canvas"].value_counts()
    assert len(pools[0][TRAIN]) > config.data.train_items  # of which canvas the seed's rows are is not told here
    steps = [point["step"] for point in result["curve"] if point["stage"] == "align"][-1]
    assert 1.5 * 40 / 8 <= steps <= 1.5 * (40 / 8 + len(counts))


@pytest.mark.slow
def test_features_are_cached_where_the_tower_is_frozen(cache_dir: Path, tmp_path: Path) -> None:
    towers = INSTRUCT | {"trains": ["projector", "fusion", "convnext"], "learning_rate": 1e-3, "steps": 2}
    after = ALIGN | {"name": "after", "steps": 1}
    config = staged(ALIGN | {"steps": 1}, towers, after, convnext__weights="package:mini_convnext_0", convnext__dims=[24, 48, 72, 96])
    seen = stage_features(config, open_stages(config, cache_dir, ("train", "val")), cache_dir)
    assert [any(found is not None for found in own.values()) for own in seen] == [True, False, False]
    result = run_cell(config, workdir=tmp_path, cache_dir=cache_dir, checkpoint=tmp_path / TRAINED_PARTS).result
    assert result["failure"] is None
    _, state = trained_parts(tmp_path)
    assert any(name.startswith("encoder.convnext.") for name in state)
    assert [stage.name for stage in stages_of(config)] == ["align", "instruct", "after"]


def test_a_stage_words_what_it_trains_on_and_validation_is_asked_as_the_run_says(cache_dir: Path) -> None:
    config = staged(ALIGN | {"template": "plain", "max_tokens": 60}, INSTRUCT)
    module = FilaModule.from_config(config, detail_branch=False)
    pools = open_stages(config, cache_dir, ("train", "val"))
    seen = stage_features(config, pools, cache_dir)
    trained = fit.Fit(config, module, Recorder(1, None, 1, 1), Path(), pools, seen)
    asked = []
    for data in trained.data:
        batch = data.collators["train"](data.rows["train"][:1], training=True)
        asked.append(module.model.tokenizer.decode(batch.vision.input_ids[0], skip_special_tokens=True))
        told = data.collators["val"](data.rows["val"][:1], training=False)
        assert module.model.tokenizer.decode(told.vision.input_ids[0]).strip("<pad>")
    question, answer = (getattr(pools[0][TRAIN].turns(trained.data[0].rows["train"][:1])[0][0], name) for name in ("question", "answers"))
    assert asked == [f"{answer[0]}\n", f"{question}{answer[0]}"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_devices_train_in_stages_as_one_and_go_on_from_a_shared_end(strategy: str, cache_dir: Path, tmp_path: Path) -> None:
    """With forward passes that share a step; weights in parts are laid out anew for every stage."""
    stages = (ALIGN | {"batch_size": 4, "accumulate": 2, "steps": 2}, INSTRUCT | {"steps": 2})
    fields = {"runtime__precision": "fp32", "runtime__feature_cache": False, "train__log_every": 1}
    alone, shared = (staged(*stages, **fields | more) for more in ({}, {"runtime__devices": 2, "runtime__strategy": strategy}))
    one = run_cell(alone, workdir=tmp_path / "one", cache_dir=cache_dir, checkpoint=tmp_path / "one" / TRAINED_PARTS).result
    two = run_cell(shared, workdir=tmp_path / "two", cache_dir=cache_dir, checkpoint=tmp_path / "two" / TRAINED_PARTS).result
    assert two["failure"] is None
    losses = [[point["loss"] for point in result["curve"]] for result in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for name in ("validation", "validation_loss"):
        validated = [[point[name] for point in result["curve"] if point["validation"] is not None] for result in (one, two)]
        assert validated[1] == pytest.approx(validated[0], rel=1e-5)
    states = [trained_parts(tmp_path / name)[1] for name in ("one", "two")]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=2e-5)
    end = tmp_path / "two" / fit.STAGES / "align" / END
    again = run_cell(shared, workdir=tmp_path / "again", cache_dir=cache_dir, ends=(end,)).result
    assert again["failure"] is None
    assert again["curve"] == two["curve"]
    assert not (tmp_path / "again" / fit.STAGES / "align").exists()


CELL = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_stage_fits import killed_cell
killed_cell(Path({workdir!r}), Path({cache!r}))
"""


def killed_cell(workdir: Path, cache_dir: Path) -> dict[str, Any]:
    """A cell that saves a checkpoint after every step."""
    config = staged(ALIGN, INSTRUCT, runtime__checkpoint_minutes=1e-6, train__log_every=1)
    return table(run_cell(config, workdir=workdir, cache_dir=cache_dir).result)


@pytest.mark.slow
def test_a_cell_that_is_killed_in_each_stage_ends_as_if_it_had_not_been(cache_dir: Path, tmp_path: Path) -> None:
    """By the system, which lets it clear nothing up."""
    whole = killed_cell(tmp_path / "whole", cache_dir)
    cut = tmp_path / "cut"
    script = CELL.format(tests=str(Path(__file__).parent), workdir=str(cut), cache=str(cache_dir))
    for step in (2, 6):
        process = subprocess.Popen([sys.executable, "-c", script])
        reader = JournalReader(cut / JOURNAL)
        seen = 0
        while seen < step and process.poll() is None:
            seen = max([seen, *(entry["step"] for entry in reader.new())])
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert killed_cell(cut, cache_dir) == whole
