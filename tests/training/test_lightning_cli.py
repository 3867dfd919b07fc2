"""The module's constructor is typed, so LightningCLI can build it from a YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml
from lightning.pytorch.cli import LightningCLI
from tiny_run import tiny

from fila_lab.training import FilaModule


def test_lightning_cli_builds_the_module_of_a_config(tmp_path: Path) -> None:
    config = tiny(fusion__name="addition", seed=3)
    fields = config.model_dump(mode="json", exclude={"data"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"model": fields, "trainer": {"logger": False}}), encoding="utf-8")
    cli = LightningCLI(FilaModule, run=False, save_config_callback=None, args=["--config", str(tmp_path / "run.yaml")])
    assert cli.model.config.model_dump(exclude={"data"}) == config.model_dump(exclude={"data"})
