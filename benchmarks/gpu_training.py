"""Training steps on a device: an arm's, and the bare libraries'; what an arm's holds of the device's memory, and what it should by the
closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.scene import Scene
from fila_lab.config import RunConfig
from fila_lab.cost import build_subject, synthetic_batch
from fila_lab.cost.closed.memory import greatest_part, memory_parts


class Step:
    """An arm's model with random weights, made on the device; a batch; and an optimiser of what trains."""

    def __init__(self, config: RunConfig, images: int, device: str) -> None:
        torch.manual_seed(0)
        self.config = stepping(config, images)
        self.model = build_subject(self.config, device)
        self.batch = synthetic_batch(config, images).to(device)
        self.labels = self.batch.input_ids.clone()
        self.labels[:, : int(self.batch.prompt_lengths[0])] = -100
        self._train(self.model.trainable_parameters())

    def _train(self, parameters: Sequence[nn.Parameter]) -> None:
        self.trained = list(parameters)
        self.optimiser = torch.optim.AdamW(self.trained, lr=1e-6, fused=True)

    def loss(self) -> Tensor:
        """Of the batch."""
        loss = self.model(self.batch, self.labels).loss
        assert loss is not None
        return loss

    def step(self) -> None:
        """One; the last one's gradients lie beside the activations, as Lightning's loop has it."""
        loss = self.loss()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()

    def held_gib(self) -> float:
        """GiB that lie on the device between two steps: weights, gradients and moments."""
        moments = (value for state in self.optimiser.state.values() for value in state.values() if isinstance(value, Tensor))
        gradients = (one.grad for one in self.trained if one.grad is not None)
        return sum(value.nbytes for value in (*self.model.parameters(), *self.model.buffers(), *gradients, *moments)) / 2**30

    def closed_gib(self) -> float:
        """GiB of a whole step, in closed form."""
        return sum(part.total for part in memory_parts(self.config).values()) / 2**30


class BareStep(Step):
    """The same without this package's encoder, sequence and loss: as many visual tokens, whatever stands in them."""

    def __init__(self, config: RunConfig, images: int, device: str) -> None:
        """config: of an arm that looks at what both towers do."""
        super().__init__(config.model_copy(update={"fusion": config.fusion.model_copy(update={"name": "none"})}), images, device)
        made = Scene.build(config, images)
        self.scene = Scene(config, made.vit.to(device), made.convnext.to(device), made.batch.to(device), made.canvas)
        self.scene.prepare()
        with torch.inference_mode():
            self.visual = self.model.see(self.batch).shape[1]
        width, hidden = config.vit.width, config.language.width
        self.projector = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden)).to(device)
        self._train([*self.projector.parameters(), *(value for value in self.model.language.parameters() if value.requires_grad)])

    def loss(self) -> Tensor:
        """Of the batch, by the library's class."""
        with torch.no_grad():
            tokens = self.scene.bare_vit()
            self.scene.bare_convnext()
        seen = self.projector(tokens).unflatten(0, (len(self.batch), -1)).flatten(1, 2)
        seen = nn.functional.pad(seen, (0, 0, 0, self.visual - seen.shape[1]))  # where row separators stand
        language: Any = self.model.language
        text = language.get_input_embeddings()(self.batch.input_ids)
        labels = nn.functional.pad(self.labels, (self.visual, 0), value=-100)
        loss: Tensor = language(inputs_embeds=torch.cat([seen.to(text.dtype), text], dim=1), labels=labels).loss
        return loss


def stepping(config: RunConfig, images: int) -> RunConfig:
    """The run as its steps are measured: from pixels, on a batch of so many images, no question answered, by one kernel for AdamW."""
    train = config.train.model_copy(update={"batch_size": images, "eval_batch_size": 1})
    runtime = config.runtime.model_copy(update={"feature_cache": False, "fused_optimizer": True})
    return config.model_copy(update={"train": train, "runtime": runtime})


def lack(configs: Sequence[RunConfig], images: int, free: float) -> str | None:
    """None where models of these runs fit in `free` bytes beside each other, with the activations of one; else what they need, and what to
    change."""
    runs = [stepping(config, images) for config in configs]
    parts = [list(memory_parts(run).values()) for run in runs]
    activations = [sum(part.activations for part in each) for each in parts]
    needed = sum(part.state for each in parts for part in each) + max(activations)
    if needed <= free:
        return None
    largest = greatest_part(runs[activations.index(max(activations))])
    said = f"{len(runs)} models beside each other need about {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"
    return f"{said}; of one, {largest} (a batch here is --images, now {images})"
