"""What a GPU does otherwise: `base` in bf16 and fp16, and cells trained there by every strategy that one device allows.

Each test runs on a CPU too (slow), at a size for it: what was never run on a GPU has at least been run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny_run import TINY, tiny

from fila_lab.config import RunConfig, resolve_run
from fila_lab.cost import synthetic_batch
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.precision import autocast
from fila_lab.training import run_cell

ABSENT = "no CUDA device here: torch.cuda.is_available() is False"
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random", "language.tokenizer": "characters"}


class Place(NamedTuple):
    """Where a test runs, and the preset it runs there."""

    device: str
    preset: str

    @property
    def accelerator(self) -> str:
        return "gpu" if self.device == "cuda" else "cpu"

    def config(self, **fields: Any) -> RunConfig:
        small = RANDOM if self.preset == "base" else TINY | RANDOM
        return resolve_run(self.preset, small, {"runtime.accelerator": self.accelerator}, fields)

    def model(self, config: RunConfig) -> tuple[FilaModel, VisionBatch]:
        """An untrained model whose fusions act, and two noisy pages."""
        torch.manual_seed(0)
        model = build_model(config)
        for name, value in model.encoder.fusions.named_parameters():
            if value.ndim > 1:
                torch.nn.init.normal_(value, std=0.02, generator=torch.Generator().manual_seed(len(name)))
        return model.to(self.device), synthetic_batch(config, 2).to(self.device)


GPU = pytest.param(
    Place("cuda", "base"), id="gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason=ABSENT)]
)
CPU = pytest.param(Place("cpu", "mini"), id="cpu", marks=pytest.mark.slow)
anywhere = pytest.mark.parametrize("place", [GPU, CPU])


def gradients(model: FilaModel, batch: VisionBatch, precision: str, device: str) -> tuple[float, torch.Tensor]:
    """(loss, all gradients in one row) of a step in some precision; in fp16 the loss is scaled, as in training."""
    labels = batch.input_ids.clone()
    labels[:, : int(batch.prompt_lengths.max())] = -100
    model.zero_grad()
    with autocast(precision, device):
        loss = model(batch, labels).loss
    assert loss is not None
    scale = 1024.0 if precision == "fp16" else 1.0
    (loss * scale).backward()
    found = [value.grad.flatten() / scale for value in model.parameters() if value.requires_grad and value.grad is not None]
    return float(loss.detach()), torch.cat(found).cpu()


@anywhere
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_the_bits_give_nearly_the_gradients_of_float32(place: Place, precision: str) -> None:
    model, batch = place.model(place.config())
    (loss, exact), (near, rounded) = (gradients(model, batch, kind, place.device) for kind in ("fp32", precision))
    assert near == pytest.approx(loss, rel=0.02)
    assert torch.isfinite(rounded).all()
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.97


@anywhere
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_answers_are_given_and_are_the_same_twice(place: Place, precision: str) -> None:
    model, batch = place.model(place.config())
    with autocast(precision, place.device):
        first, second = (model.eval().answer(batch, 8) for _ in range(2))
    assert first == second
    assert len(first) == 2


@anywhere
def test_every_device_sees_the_same(place: Place) -> None:
    """To what TensorFloat-32, in which cuDNN convolves, leaves."""
    model, batch = place.model(place.config())
    with torch.inference_mode():
        there = model.eval().see(batch).cpu()
        here = model.cpu().see(batch.to("cpu"))
    assert (there - here).norm() < 5e-3 * here.norm()


CELLS: dict[str, dict[str, Any]] = {
    "bf16": {},
    "fp32": {"runtime__precision": "fp32"},
    "fp16": {"runtime__precision": "fp16"},
    "fused optimiser": {"runtime__fused_optimizer": True},
    "compiled": {"runtime__compile": True},
    "ddp": {"runtime__strategy": "ddp"},
    "fsdp": {"runtime__strategy": "fsdp"},
    "maps computed anew": {"runtime__feature_cache": False},
    "checkpointing": {"runtime__checkpointing": True, "vit__trainable": True, "convnext__trainable": True},
    "attention chosen by shape": {"runtime__attention": "auto"},
}
ON_GPUS_ALONE = ("fp16",)


@anywhere
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_trains_as_on_a_cpu(place: Place, cell: str, cache_dir: Path, tmp_path: Path) -> None:
    """Loss by loss, to rounding; the maps of the frozen ConvNeXt come from the cache, which one CPU thread wrote."""
    if place.device == "cpu" and (cell in ON_GPUS_ALONE or cell == "compiled"):
        pytest.skip(f"{cell}: the CPU's own tests have it" if cell == "compiled" else f"{cell}: on GPUs alone")
    fields = {"fusion__name": "concat", "train__steps": 4, "train__log_every": 1, "train__validate_every": 4, "data__test_triplets": 2}
    trained = {"vit__trainable", "convnext__trainable"} & CELLS[cell].keys()
    plain = tiny(**fields, **dict.fromkeys(trained, True))
    here = run_cell(plain, workdir=tmp_path / "cpu", cache_dir=cache_dir).result
    config = tiny(**fields | CELLS[cell], runtime__accelerator=place.accelerator)
    kept = tmp_path / "there" / "cell" / "model.safetensors"
    there = run_cell(config, workdir=tmp_path / "there", cache_dir=cache_dir, checkpoint=kept).result
    assert there["failure"] is None
    assert [point["loss"] for point in there["curve"]] == pytest.approx([point["loss"] for point in here["curve"]], rel=0.03)
    assert kept.is_file()
    assert there["metrics"].keys() == here["metrics"].keys()
