"""A cell is a pure function of its config; arms share what they share; failures are outcomes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tiny_run import TINY, tiny

from fila_lab.config import MachineError, RunConfig, config_hash, load_study, resolve_run
from fila_lab.studies.plan import make_plan
from fila_lab.training import FilaModule, run_cell
from fila_lab.training.cell import failure_kind, weights_used
from fila_lab.training.data import TRAIN, CellData, open_data, seen_features
from fila_lab.training.module import NotFiniteError
from fila_lab.training.predict import predict
from fila_lab.training.trained import load_trained
from fila_lab.training.trainer import make_trainer


def cell_data(config: RunConfig, module: FilaModule, cache_dir: Path) -> CellData:
    pools = open_data(config, cache_dir, ("train", "val", "test"))
    return CellData(config, pools, seen_features(config, pools, cache_dir), module.model.tokenizer)


def test_the_same_cell_twice_gives_the_same_numbers_to_the_last_bit(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(fusion__name="concat")
    first, second = (run_cell(config, workdir=tmp_path / name, cache_dir=cache_dir) for name in "ab")
    assert first.result["failure"] is None
    assert first.result["metrics"] == second.result["metrics"]
    assert first.result["validation"] == second.result["validation"]
    assert first.result["curve"] == second.result["curve"]
    assert first.predictions is not None
    assert first.predictions.equals(second.predictions)
    assert len(first.predictions) == 3 * config.data.test_triplets
    assert [point["step"] for point in first.result["curve"]] == [2, 3, 4, 6], "every second step, and the one that was validated"


def test_it_says_that_it_trains_before_its_first_step_is_logged(cache_dir: Path, tmp_path: Path) -> None:
    """Until then a display would show the last that was read."""
    said: list[tuple[str, int, int]] = []
    config = tiny(fusion__name="none", train__steps=2, train__validate_every=2)
    run_cell(config, workdir=tmp_path, cache_dir=cache_dir, progress=lambda *step: said.append(step), test=False)
    assert [step for step in said if step[0] == "train"] == [("train", 0, 2), ("train", 2, 2)]


def test_another_seed_gives_other_numbers(cache_dir: Path, tmp_path: Path) -> None:
    configs = [tiny(seed=seed, fusion__name="none", train__steps=2, train__validate_every=2) for seed in (0, 1)]
    cells = [run_cell(config, workdir=tmp_path / str(config.seed), cache_dir=cache_dir, test=False).result for config in configs]
    assert cells[0]["curve"][0]["loss"] != cells[1]["curve"][0]["loss"]


@pytest.mark.slow
def test_a_rival_with_more_tiles_answers_the_same_items(cache_dir: Path, tmp_path: Path) -> None:
    cells = [tiny(fusion__name="none", geometry__vit_scale=scale) for scale in (1, 2)]
    outcomes = [run_cell(config, workdir=tmp_path / str(i), cache_dir=cache_dir) for i, config in enumerate(cells)]
    assert [outcome.result["failure"] for outcome in outcomes] == [None, None]
    plain, rival = (outcome.predictions for outcome in outcomes)
    assert plain is not None
    assert rival is not None
    shared = ["item_id", "place", "question", "answer", "cut_fraction", "canvas"]
    assert rival[shared].equals(plain[shared])
    assert outcomes[0].result["curve"] != outcomes[1].result["curve"]


@pytest.mark.slow
def test_every_matched_arm_of_the_shipped_study_runs(cache_dir: Path, tmp_path: Path) -> None:
    kept = ("data.", "train.", "vit.weights", "convnext.weights", "language.weights")  # matching is about mini's own sizes
    short = {key: value for key, value in TINY.items() if key.startswith(kept)} | {"train.steps": 2}
    plan = make_plan(load_study(Path(__file__).parents[2] / "experiments/fusion_matched.yaml"), "small", short)
    assert len(plan.matches) == 3
    for cell in plan.cells:
        if cell.arm in plan.matches and cell.seed == 0:
            assert run_cell(cell.config, workdir=tmp_path / cell.arm, cache_dir=cache_dir).result["failure"] is None


@pytest.mark.parametrize("arm", ["concat", "addition", "cross_attention"])
def test_arms_of_a_seed_share_weights_and_data_order(arm: str, cache_dir: Path) -> None:
    """Pairing by seed means something only if what two arms have in common is equal."""
    configs = {name: tiny(fusion__name=name) for name in ("none", arm)}
    modules = {name: FilaModule.from_config(config) for name, config in configs.items()}
    parameters = {name: dict(module.model.named_parameters()) for name, module in modules.items()}
    assert set(parameters["none"]) < set(parameters[arm])
    assert all(torch.equal(value, parameters[arm][name]) for name, value in parameters["none"].items())
    streams = {name: islice(cell_data(configs[name], module, cache_dir).train_dataloader(), 12) for name, module in modules.items()}
    for plain, fused in zip(streams["none"], streams[arm], strict=True):
        assert plain.rows == fused.rows
        assert torch.equal(plain.labels, fused.labels)
        assert torch.equal(plain.vision.tiles, fused.vision.tiles)


def test_batches_have_one_canvas_and_labels_cover_the_answer_and_its_end(cache_dir: Path) -> None:
    config = tiny(fusion__name="none")
    module = FilaModule.from_config(config)
    data = cell_data(config, module, cache_dir)
    for batch in islice(data.train_dataloader(), 8):
        assert len({data.collators[TRAIN].pool.canvases[row] for row in batch.rows}) == 1
        for labels, answer in zip(batch.labels, batch.answers, strict=True):
            ids = labels[labels >= 0]
            assert module.model.tokenizer.decode(ids, skip_special_tokens=True) == answer[0]
            assert ids[-1] == module.model.tokenizer.eos_token_id


@pytest.mark.slow
def test_without_the_cache_a_cell_has_nearly_the_same_losses_and_another_identity(cache_dir: Path, tmp_path: Path) -> None:
    """Maps made in the step are rounded as the cache rounds them, but lie in memory otherwise, so sums differ in their last bits: the two
    are never taken for one cell.
    """
    cached, direct = tiny(fusion__name="concat"), tiny(fusion__name="concat", runtime__feature_cache=False)
    outcomes = [run_cell(config, workdir=tmp_path / str(i), cache_dir=cache_dir) for i, config in enumerate((cached, direct))]
    losses = [[point["loss"] for point in outcome.result["curve"]] for outcome in outcomes]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert config_hash(cached) != config_hash(direct)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_train_and_say_where_their_time_went(precision: str, cache_dir: Path, tmp_path: Path) -> None:
    outcome = run_cell(tiny(fusion__name="cross_attention", runtime__precision=precision), workdir=tmp_path, cache_dir=cache_dir)
    assert outcome.result["failure"] is None
    timing = outcome.result["timing"]
    inside = ("data", "features", "start", "train", "evaluate", "save")
    assert sum(timing[part] for part in inside) <= timing["total"] + 0.01
    assert timing["train_steps"] + timing["validation_steps"] <= timing["train"]
    assert 0 < timing["evaluate_steps"] <= timing["evaluate"]
    assert timing["loading"] > 0


def test_the_weights_of_a_cell_are_those_it_started_from(cache_dir: Path, tmp_path: Path) -> None:
    shipped = resolve_run("mini", {"fusion.name": "none", "seed": 1})
    starts = [weights_used(config, FilaModule.from_config(config).model) for config in (shipped, shipped.model_copy(update={"seed": 2}))]
    assert starts[0] == starts[1]
    assert set(starts[0]) == {"vit", "language"}
    short = tiny(train__steps=1, train__validate_every=1)
    assert set(run_cell(short, workdir=tmp_path, cache_dir=cache_dir, test=False).provenance["weights"]) == {"vit", "convnext"}


def test_a_validation_stands_at_its_own_step(cache_dir: Path, tmp_path: Path) -> None:
    """Also where it does not fall on a step that is logged, or comes before the first of them."""
    config = tiny(train__steps=6, train__log_every=5, train__validate_every=2)
    curve = run_cell(config, workdir=tmp_path, cache_dir=cache_dir, test=False).result["curve"]
    assert [(point["step"], point["validation"] is not None) for point in curve] == [(2, True), (4, True), (5, False), (6, True)]
    assert all(point["loss"] > 0 for point in curve)


def test_a_failure_is_an_outcome_with_its_cause(cache_dir: Path, tmp_path: Path) -> None:
    exploding = run_cell(tiny(train__learning_rate=1e30, train__gradient_clip=1e30), workdir=tmp_path / "nan", cache_dir=cache_dir).result
    assert exploding["status"] == "failed"
    assert exploding["failure"]["kind"] == "not_finite"
    assert "train.learning_rate" in exploding["failure"]["message"]
    missing = run_cell(tiny(vit__weights="nowhere.safetensors"), workdir=tmp_path / "gone", cache_dir=cache_dir).result
    assert missing["failure"]["kind"] == "bad_input"
    assert "vit.weights" in missing["failure"]["message"]
    assert failure_kind(MemoryError()) == "out_of_memory"
    assert failure_kind(NotFiniteError()) == "not_finite"


class SaveAt(Callback):
    """Saves a checkpoint after a step, as a killed cell would have left one."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_training_resumes_from_a_checkpoint_as_if_it_had_not_stopped(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(fusion__name="addition")
    straight, resumed = (FilaModule.from_config(config) for _ in range(2))
    saved = tmp_path / "half.ckpt"
    make_trainer(config, tmp_path / "straight", SaveAt(3, saved)).fit(straight, cell_data(config, straight, cache_dir))
    make_trainer(config, tmp_path / "rest").fit(resumed, cell_data(config, resumed, cache_dir), ckpt_path=saved)
    for (name, whole), part in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(whole, part), name


def test_a_trained_cell_answers_from_its_folder(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(fusion__name="concat", language__answer_tokens=1, train__steps=2)
    outcome = run_cell(config, workdir=tmp_path / "work", cache_dir=cache_dir, checkpoint=tmp_path / "cell" / "model.safetensors")
    assert outcome.result["failure"] is None
    said = (outcome.predictions["prediction"] != "").sum()  # what says something came to no end in one token
    counts = outcome.result["answers"]["seam"]
    assert counts["given"] == len(outcome.predictions)
    assert 0 < said <= counts["cut_off"]
    assert load_trained(tmp_path / "cell").config == config
    from PIL import Image

    Image.new("RGB", (300, 150), "white").save(tmp_path / "page.png")
    assert "tiles: " in predict(tmp_path / "page.png", "red?", tmp_path / "cell")
    assert Image.open(tmp_path / "page-tiles.png").width > 300


def test_an_absent_device_and_a_full_disk_are_no_results(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[[str], Path]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match=r"runtime.accelerator='gpu': no CUDA device here"):
        run_cell(tiny(runtime__accelerator="gpu"), workdir=tmp_path, cache_dir=cache_dir)
    full = disk("16k")
    with pytest.raises(MachineError, match=r"No space left on device.*same command"):
        run_cell(tiny(fusion__name="none"), workdir=tmp_path / "work", cache_dir=cache_dir, checkpoint=full / "cell" / "model.safetensors")
    assert not list(full.rglob("*.*"))
    with pytest.raises(MachineError, match="No space left on device"):
        run_cell(tiny(fusion__name="none"), workdir=tmp_path / "work", cache_dir=full)
