"""However devices share the work, a cell is the one that a single device trains; and its checkpoints hold what trains, whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gloo import on_ranks
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tiny_run import tiny
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from fila_lab.config import MachineError, RunConfig
from fila_lab.training import FilaModule, run_cell
from fila_lab.training.checkpoints import FOLDER, keep_checkpoints, resumable
from fila_lab.training.data import TRAIN, VAL, CellData, open_data, seen_features
from fila_lab.training.trained import load_trained
from fila_lab.training.trainer import make_trainer

WORLD = 2
CONFIG: dict[str, Any] = {
    "fusion__name": "addition", "runtime__precision": "fp32", "train__steps": 4, "train__validate_every": 2, "train__log_every": 1,
    "data__test_triplets": 2,
}  # fmt: skip
STRATEGIES = ("ddp", "fsdp")
ARMS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "towers train": {"vit__trainable": True, "convnext__trainable": True},
    "adapters": {"language__lora": {"rank": 2, "alpha": 4}, "runtime__checkpointing": True, "runtime__feature_cache": False},
}


class Watch(Callback):
    """Gradients of the first step, whole; weights and their moments after the last; a checkpoint after a step."""

    def __init__(self, save: Path | None = None, step: int = 2) -> None:
        self.save, self.step = save, step
        self.gradients: dict[str, torch.Tensor] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.held = 0

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        if trainer.global_step == 0:
            self.gradients = {name: whole(value.grad) for name, value in named(module)}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if self.save is not None and trainer.global_step == self.step:
            trainer.save_checkpoint(self.save)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.weights = {name: whole(value) for name, value in named(module)}
        self.held = sum(local(value) for value in module.parameters())


def named(module: LightningModule) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, value) for name, value in module.named_parameters() if value.requires_grad]


def whole(value: Any) -> torch.Tensor:
    return (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()


def local(value: torch.Tensor) -> int:
    return (value.to_local() if isinstance(value, DTensor) else value).numel()


def fit(config: RunConfig, cache_dir: Path, workdir: Path, watch: Watch, resume: Path | None = None) -> dict[str, Any]:
    """Train a cell's module, and answer its questions."""
    pools = open_data(config, cache_dir, (TRAIN, VAL))
    features = seen_features(config, pools, cache_dir)
    module = FilaModule.from_config(config, detail_branch=None in features.values())
    data, trainer = CellData(config, pools, features, module.model.tokenizer), make_trainer(config, workdir, watch)
    trainer.fit(module, data, ckpt_path=None if resume is None else str(resume))
    curve = float(trainer.callback_metrics["loss"]), float(trainer.callback_metrics.get("validation", -1))
    answers = trainer.predict(module, data.val_dataloader())
    return {"gradients": watch.gradients, "weights": watch.weights, "held": watch.held, "curve": curve, "answers": answers}


def with_strategies(fields: list[dict[str, Any]], cache_dir: Path, out: Path) -> list[dict[str, Any]]:
    """On a rank: every cell by itself, then begun anew and gone on with from a checkpoint in the middle."""
    found = []
    for number, each in enumerate(fields):
        config, saved = RunConfig.model_validate(each), out / f"{number}.ckpt"
        result = fit(config, cache_dir, out / f"{number}", Watch(saved))
        again = fit(config, cache_dir, out / f"{number} again", Watch(), resume=saved)
        found.append(result | {"resumed": again["weights"], "resumed curve": again["curve"]})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
def test_two_processes_train_as_one_and_go_on_from_their_checkpoint(arm: str, cache_dir: Path, tmp_path: Path) -> None:
    fields = CONFIG | ARMS[arm]
    alone = fit(tiny(**fields), cache_dir, tmp_path / "alone", Watch(tmp_path / "alone.ckpt"))
    shared = [tiny(**fields, runtime__devices=WORLD, runtime__strategy=strategy) for strategy in STRATEGIES]
    ranks = on_ranks(with_strategies, WORLD, tmp_path, [config.model_dump(mode="json") for config in shared], cache_dir, tmp_path)
    kept = {"alone": torch.load(tmp_path / "alone.ckpt", weights_only=True)}
    for number, strategy in enumerate(STRATEGIES):
        kept[strategy] = torch.load(tmp_path / f"{number}.ckpt", weights_only=True)
        for found in (rank[number] for rank in ranks):
            assert found["gradients"].keys() == alone["gradients"].keys()
            for name, gradient in alone["gradients"].items():
                assert (found["gradients"][name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-9, (strategy, name)
            assert found["curve"] == pytest.approx(alone["curve"], rel=1e-3)
            assert all(torch.equal(value, found["resumed"][name]) for name, value in found["weights"].items()), strategy
            assert found["resumed curve"] == found["curve"]
    both = {strategy: [rank[number]["answers"] for rank in ranks] for number, strategy in enumerate(STRATEGIES)}
    told = [sorted(row for rank in answers for batch in rank for row in batch) for answers in both.values()]
    assert told[0] == told[1] == sorted(row for batch in alone["answers"] for row in batch)
    _same_content(kept)
    held = [ranks[0][number]["held"] for number in range(len(STRATEGIES))]
    assert held[1] < 0.75 * held[0], "a device holds a share"


def _same_content(kept: dict[str, dict[str, Any]]) -> None:
    """Checkpoints of all strategies hold the same: what trains, by its name, and two moments and a count of each."""
    trained = {name for name in kept["alone"]["state_dict"] if name.startswith("model.")}
    for strategy, content in kept.items():
        own = {name: value for name, value in content["state_dict"].items() if name.startswith("model.")}
        assert own.keys() == trained, strategy
        states = content["optimizer_states"][0]["state"]
        assert sorted(len(each) for each in states.values()) == [3] * len(states)
        shapes = sorted(tuple(each["exp_avg"].shape) for each in states.values())
        assert shapes == sorted(tuple(each["exp_avg"].shape) for each in kept["alone"]["optimizer_states"][0]["state"].values())
        assert all(type(value) is torch.Tensor for value in own.values())


@pytest.mark.slow
def test_a_cell_whose_weights_lie_in_parts_leaves_what_every_cell_leaves(cache_dir: Path, tmp_path: Path) -> None:
    """In bfloat16, in which its weights are gathered, and not saved."""
    fields = CONFIG | {"train__steps": 3, "runtime__precision": "bf16"}
    found = {}
    for name, more in (("one", {}), ("two", {"runtime__devices": WORLD, "runtime__strategy": "fsdp", "runtime__checkpoint_minutes": 1e-9})):
        file = tmp_path / name / "cell" / "model.safetensors"
        found[name] = run_cell(tiny(**fields, **more), workdir=tmp_path / name, cache_dir=cache_dir, checkpoint=file)
        assert found[name].result["failure"] is None
    one, two = found["one"], found["two"]
    assert [point["loss"] for point in two.result["curve"]] == pytest.approx([point["loss"] for point in one.result["curve"]], rel=0.02)
    assert two.predictions["item_id"].equals(one.predictions["item_id"])
    states = [dict(load_trained(tmp_path / name / "cell").named_parameters()) for name in found]
    for name, value in states[0].items():
        assert states[1][name].dtype is torch.float32
        torch.testing.assert_close(states[1][name], value, rtol=0.05, atol=4e-3)
        assert not value.requires_grad or not torch.equal(states[1][name], states[1][name].bfloat16().float()) or not value.any()
    assert (tmp_path / "two" / FOLDER / "last.ckpt").is_file()


def launched(fields: dict[str, Any], cache_dir: Path, out: Path) -> dict[str, Any]:
    """A cell as one rank of what a launcher has started; `checkpoint` is given to all, as one script does."""
    outcome = run_cell(RunConfig.model_validate(fields), workdir=out / "work", cache_dir=cache_dir, checkpoint=out / "model.safetensors")
    return outcome.result


@pytest.mark.slow
def test_ranks_on_two_machines_train_one_cell(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(**CONFIG, runtime__nodes=2)
    results = on_ranks(launched, 2, tmp_path / "ranks", config.model_dump(mode="json"), cache_dir, tmp_path, nodes=2)
    alone = run_cell(tiny(**CONFIG), workdir=tmp_path / "alone", cache_dir=cache_dir).result
    for result in results:
        assert result["failure"] is None
        assert [point["loss"] for point in result["curve"]] == pytest.approx([point["loss"] for point in alone["curve"]], rel=1e-3)
    assert (tmp_path / "model.safetensors").is_file()


def test_ranks_on_other_machines_leave_a_cell_undone_without_a_launcher(cache_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="torchrun --nnodes 2"):
        run_cell(tiny(runtime__nodes=2), workdir=tmp_path, cache_dir=cache_dir)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "rounding"), [("fp32", 1e-6), ("bf16", 2e-3)])
def test_a_fused_optimiser_makes_the_same_steps(precision: str, rounding: float, cache_dir: Path, tmp_path: Path) -> None:
    """To rounding: it is another kernel, and another cell. Lightning by itself would refuse to clip its gradients in bf16."""
    weights = []
    for fused in (False, True):
        fields = {"train__steps": 2, "runtime__fused_optimizer": fused, "fusion__name": "none", "runtime__precision": precision}
        config = tiny(**CONFIG | fields, train__gradient_clip=0.1)
        optimiser = FilaModule.from_config(config).configure_optimizers()["optimizer"]
        assert isinstance(optimiser, AdamW)
        assert bool(optimiser.defaults["fused"]) is fused
        weights.append(fit(config, cache_dir, tmp_path / str(fused), Watch())["weights"])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=rounding)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3])
def test_what_dropout_leaves_out_does_not_depend_on_having_been_cut_off(step: int, cache_dir: Path, tmp_path: Path) -> None:
    fields = CONFIG | {"language__lora": {"rank": 2, "alpha": 4, "dropout": 0.5}}
    straight = fit(tiny(**fields), cache_dir, tmp_path / "straight", Watch(tmp_path / "half.ckpt", step=step))
    resumed = fit(tiny(**fields), cache_dir, tmp_path / "resumed", Watch(), resume=tmp_path / "half.ckpt")
    assert all(torch.equal(value, resumed["weights"][name]) for name, value in straight["weights"].items())
    none = fit(tiny(**CONFIG | {"language__lora": {"rank": 2, "alpha": 4}}), cache_dir, tmp_path / "none", Watch())
    assert any(not torch.equal(value, none["weights"][name]) for name, value in straight["weights"].items()), "it leaves something out"


def test_the_newest_checkpoints_stay_and_a_cell_goes_on_from_the_last(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(**CONFIG | {"fusion__name": "none"}, runtime__checkpoint_minutes=1e-9, runtime__checkpoints_kept=2)
    fit(config, cache_dir, tmp_path, Watch())
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["step-3.ckpt", "step-4.ckpt"]
    found = resumable(tmp_path, config)
    assert found is not None
    assert Path(found).name == "step-4.ckpt"


def test_of_deepspeeds_folders_the_newest_that_is_finished_counts(tmp_path: Path) -> None:
    """Laid out by hand: DeepSpeed itself was never run here."""
    config = tiny(runtime__strategy="deepspeed", runtime__accelerator="gpu")
    assert keep_checkpoints(tmp_path, config.runtime).save_top_k == 2
    for step, finished in ((9, True), (10, True), (11, False)):
        folder = tmp_path / FOLDER / f"step-{step}.ckpt"
        (folder / "checkpoint").mkdir(parents=True)
        if finished:
            (folder / "latest").write_text("checkpoint", encoding="utf-8")
    found = resumable(tmp_path, config)
    assert found is not None
    assert Path(found).name == "step-10.ckpt"
    assert (tmp_path / FOLDER / "step-11.ckpt.unreadable-1").is_dir()


def test_a_checkpoint_is_written_as_often_as_the_run_says(tmp_path: Path) -> None:
    often = keep_checkpoints(tmp_path, tiny(runtime__checkpoint_minutes=0.5).runtime)
    assert often._train_time_interval is not None
    assert often._train_time_interval.total_seconds() == 30


def test_a_full_memory_is_told_with_the_field_to_lower(cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(FilaModule, "training_step", full)
    failure = run_cell(tiny(**CONFIG | {"fusion__name": "none"}), workdir=tmp_path, cache_dir=cache_dir).result["failure"]
    assert failure["kind"] == "out_of_memory"
    assert "Tried to allocate 2.00 GiB; of a cell of this configuration the " in failure["message"]
    assert "lower train.batch_size (now 8)" in failure["message"]
