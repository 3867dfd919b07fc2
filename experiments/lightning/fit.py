"""Train with Lightning's own command line: `python fit.py fit --config fit.yaml`; also `validate`, and `fit --ckpt_path last.ckpt`."""

from lightning.pytorch.cli import LightningCLI

from fila_lab.training import FilaData, FilaModule

if __name__ == "__main__":
    LightningCLI(FilaModule, FilaData, save_config_kwargs={"overwrite": True})
