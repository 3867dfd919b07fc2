"""The module and its data have typed constructors, so LightningCLI can build and fit them from a YAML file, and a script can do without."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from tiny_run import tiny

from fila_lab.config import ConfigError, FilaError, RunConfig
from fila_lab.data.seam.export import export
from fila_lab.training import FilaData, FilaModule

EXAMPLES = Path(__file__).parents[2] / "experiments" / "lightning"
SMALL = {
    "model": {"train": {"steps": 4, "batch_size": 8}},
    "data": {"data": {"train_pool": 48, "train_items": 40, "val_pool": 16, "val_items": 12}},
    "trainer": {"max_steps": 4, "val_check_interval": 2, "enable_progress_bar": False, "enable_model_summary": False},
}


def test_lightning_cli_builds_the_module_of_a_config(tmp_path: Path) -> None:
    config = tiny(fusion__name="addition", seed=3)
    fields = config.model_dump(mode="json", exclude={"data"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"model": fields, "trainer": {"logger": False}}), encoding="utf-8")
    cli = LightningCLI(FilaModule, run=False, save_config_callback=None, args=["--config", str(tmp_path / "run.yaml")])
    assert cli.model.config.model_dump(exclude={"data"}) == config.model_dump(exclude={"data"})


@pytest.fixture
def command(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`python fit.py VERB ...` in this process, with a small run laid over the example's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILA_LAB_CACHE", str(cache_dir))
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")

    def run(verb: str, *configs: str | Path, further: tuple[str, ...] = ()) -> None:
        named = [word for config in (EXAMPLES / "fit.yaml", *configs, "small.yaml") for word in ("--config", str(config))]
        monkeypatch.setattr(sys, "argv", ["fit.py", verb, *named, *further])
        runpy.run_path(str(EXAMPLES / "fit.py"), run_name="__main__")

    return run


@pytest.mark.slow
def test_the_example_fits_goes_on_and_validates(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command("fit")
    (saved,) = Path("checkpoints").glob("*.ckpt")
    assert torch.load(saved, weights_only=True)["global_step"] == 4
    command("fit", further=("--ckpt_path", str(saved)))
    command("validate", further=("--ckpt_path", str(saved)))
    assert "validation" in capsys.readouterr().out


def test_the_example_of_files_fits_and_validates(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny()
    export(config.data.seam, config.geometry, "train", 24, Path("mine"))
    lying = yaml.safe_load((EXAMPLES / "files.yaml").read_text(encoding="utf-8"))
    lying["data"]["data"] |= {"workers": 0}
    Path("files.yaml").write_text(yaml.safe_dump(lying), encoding="utf-8")
    Path("small.yaml").write_text(yaml.safe_dump({name: SMALL[name] for name in ("model", "trainer")}), encoding="utf-8")
    command("fit", "files.yaml")
    assert yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["data"]["data"]["train"]["suite"] == "llava"
    command("validate", "files.yaml")
    assert "validation" in capsys.readouterr().out


class Watch(L.Callback):
    """The rows of each training batch; after `until` of them a checkpoint, and Ctrl-C."""

    def __init__(self, until: int | None = None, path: Path | None = None) -> None:
        self.rows: list[list[int]] = []
        self.until, self.path = until, path

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.rows.append(batch.rows)
        if len(self.rows) == self.until:
            trainer.save_checkpoint(str(self.path))
            raise KeyboardInterrupt


def fitted(config: RunConfig, cache_dir: Path, watch: Watch, accumulate: int = 1, start: Path | None = None, **more: Any) -> FilaModule:
    module = FilaModule.from_config(config)
    options: dict[str, Any] = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    limits = {"max_steps": config.train.steps, "val_check_interval": 100, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
    trainer = L.Trainer(accelerator="cpu", devices=1, callbacks=[watch], accumulate_grad_batches=accumulate, **options, **(limits | more))
    trainer.fit(module, datamodule=FilaData(config.data, cache_dir=str(cache_dir)), ckpt_path=None if start is None else str(start))
    return module


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_fit_goes_on_with_the_next_batch(accumulate: int, tmp_path: Path, cache_dir: Path) -> None:
    """Past the end of the first pass over 20 rows, too."""
    config = tiny(fusion__name="concat", runtime__precision="fp32", data__train_items=20, train__steps=6)
    whole, first, rest = Watch(), Watch(4, tmp_path / "stopped.ckpt"), Watch()
    straight = fitted(config, cache_dir, whole, accumulate)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fitted(config, cache_dir, first, accumulate)
    resumed = fitted(config, cache_dir, rest, accumulate, tmp_path / "stopped.ckpt")
    assert len(whole.rows) == 6 * accumulate
    assert first.rows + rest.rows == whole.rows
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_it_is_the_run_s_own_data(tmp_path: Path, cache_dir: Path) -> None:
    """A seed of its own draws other rows; a dictionary is a DataConfig; what it is fitted with gives the rest."""
    config = tiny(fusion__name="none", seed=5, train__steps=2, train__validate_every=2)
    rows = {}
    for seed in (None, 5, 6):
        watch = Watch()
        data = FilaData(config.data.model_dump(mode="json"), cache_dir=str(cache_dir), seed=seed)
        assert data.data == config.data
        trainer = L.Trainer(
            max_steps=config.train.steps, callbacks=[watch], accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(FilaModule.from_config(config), datamodule=data)
        rows[seed] = watch.rows
    assert rows[None] == rows[5] != rows[6]
    assert {len(batch) for batch in rows[5]} <= set(range(1, config.train.batch_size + 1))


def test_what_does_not_go_together_is_refused_by_name(tmp_path: Path, cache_dir: Path) -> None:
    config = tiny(fusion__name="concat")
    export(config.data.seam, config.geometry, "train", 12, tmp_path / "files")
    source = {"suite": "llava", "path": str(tmp_path / "files")}
    files = tiny(fusion__name="concat", data__train=source, data__validate=source, data__train_items=None, data__val_items=None)

    def fit(own: RunConfig, data: FilaData, **options: Any) -> None:
        limits = {"max_steps": 6, "limit_val_batches": 0} | options
        shown = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        L.Trainer(accelerator="cpu", **shown, **limits).fit(FilaModule.from_config(own), datamodule=data)

    with pytest.raises(ConfigError, match=r"model\.runtime\.feature_cache = true.*of train, val.*model\.runtime\.feature_cache=false"):
        fit(files, FilaData(files.data, cache_dir=str(cache_dir)))
    with pytest.raises(ConfigError, match=r"trainer\.max_steps is not set.*trainer\.max_steps=6"):
        fit(config, FilaData(config.data, cache_dir=str(cache_dir)), max_steps=-1, max_epochs=1)
    other = config.geometry.model_copy(update={"detail_cells": 4})
    with pytest.raises(ConfigError, match=r"data\.geometry\.detail_cells = 4 is not the module's \(3\)"):
        fit(config, FilaData(config.data, geometry=other, cache_dir=str(cache_dir)))
    with pytest.raises(ConfigError, match="train_pol"):
        FilaData({"train_pol": 3})
    with pytest.raises(ConfigError, match=r"train\.batch_size = 8 is more than data\.train_items = 4"):
        fit(config, FilaData({**config.data.model_dump(mode="json"), "train_items": 4}, cache_dir=str(cache_dir)))
    with pytest.raises(ConfigError, match=r"trainer\.accumulate_grad_batches = 1 with model\.train\.accumulate = 2; set trainer"):
        fit(tiny(fusion__name="concat", train__accumulate=2), FilaData(config.data, cache_dir=str(cache_dir)))
    staged = tiny(fusion__name="concat", train__stages=[{"name": "align", "trains": ["fusion"]}])
    with pytest.raises(ConfigError, match=r"model\.train\.stages: a Trainer fits once.*run_cell"):
        fit(staged, FilaData(config.data, cache_dir=str(cache_dir)))
    with pytest.raises(ConfigError, match=r"trainer\.fit"):
        FilaData({}).val_dataloader()


def test_rows_that_are_left_out_are_said_and_too_many_end_the_fit(
    tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(fusion__name="none", train__steps=2, language__max_tokens=56, data__bad_rows=0.9)  # the greatest image takes 51
    data = FilaData(config.data, cache_dir=str(cache_dir))
    shown = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", max_steps=2, num_sanity_val_steps=2, **shown).fit(FilaModule.from_config(config), datamodule=data)
    assert {row.reason for row in data.aside.values()} == {"answer cut off"}
    assert caplog.text.count("rows are left out (answer cut off), the first because") == 1
    strict = FilaData(tiny(data__bad_rows=0.0).data, cache_dir=str(cache_dir))
    with pytest.raises(FilaError, match=r"more than data\.bad_rows=0"):
        L.Trainer(accelerator="cpu", max_steps=2, **shown).fit(FilaModule.from_config(config), datamodule=strict)
