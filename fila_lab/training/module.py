"""FilaModule: a FilaModel with its optimiser, schedule and validation, for Lightning's Trainer and LightningCLI."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from fila_lab.config import (
    ConvNextConfig,
    FilaError,
    FusionConfig,
    GeometryConfig,
    LanguageConfig,
    ProjectorConfig,
    RunConfig,
    RuntimeConfig,
    TrainConfig,
    VitConfig,
)
from fila_lab.config.cell_checks import VALIDATION_LOSS
from fila_lab.config.stage_runs import Stage, stage_mark, stages_of
from fila_lab.data.seam.truth import TRUTH
from fila_lab.evaluation import SCORES, Score
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.answers import Truth, load_truth, unexplained
from fila_lab.modeling.generation import Answer
from fila_lab.modeling.parts import entries
from fila_lab.modeling.sharding import is_sharded, local
from fila_lab.training.asking import answered, with_frozen_maps
from fila_lab.training.batches import Batch
from fila_lab.training.checkpoints import STAGE, hyper_parameters
from fila_lab.training.features import cacheable, needs_detail
from fila_lab.training.optimiser import one_group, optimiser, rated_groups
from fila_lab.training.prompts import prompt_of
from fila_lab.training.sharded import shard
from fila_lab.training.shares import Mean, averaged, shared_unexplained, summed, world
from fila_lab.training.texts import IGNORE


class NotFiniteError(RuntimeError):
    """The loss became NaN or infinite; the cell is recorded as failed, with the step."""


class FilaModule(L.LightningModule):
    """Trains what the run leaves trainable: fusion, projector and language model in `mini`, towers too where a config says so.

    Args:
        geometry, vit, convnext, fusion, projector, language, train, runtime: the parts of a RunConfig.
        seed: every component draws its initial weights from its own stream of this seed.
        preset: name of the preset, for the record.
        detail_branch: whether the ConvNeXt is there to see what no cache has seen; null: where the run reads no cached features.
    """

    def __init__(
        self,
        geometry: GeometryConfig,
        vit: VitConfig,
        convnext: ConvNextConfig,
        fusion: FusionConfig,
        projector: ProjectorConfig = ProjectorConfig(),  # noqa: B008 (frozen)
        language: LanguageConfig = LanguageConfig(),  # noqa: B008 (frozen)
        train: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
        runtime: RuntimeConfig = RuntimeConfig(),  # noqa: B008 (frozen)
        seed: int = 0,
        preset: str = "mini",
        detail_branch: bool | None = None,
    ) -> None:
        super().__init__()
        self.config = RunConfig(
            preset=preset, seed=seed, geometry=geometry, vit=vit, convnext=convnext, fusion=fusion,
            projector=projector, language=language, train=train, runtime=runtime,
        )  # fmt: skip
        self.save_hyperparameters(hyper_parameters(self.config))
        sees = not cacheable(self.config) if detail_branch is None else detail_branch
        self.model: FilaModel = build_model(self.config, detail_branch=sees)
        self.prompt = prompt_of(language.template, self.model.tokenizer, language.max_tokens)
        self.truth: Truth | None = None
        if train.truth_weight:
            self.truth = Truth(4 * TRUTH, language.width).requires_grad_(False)
            load_truth(self.truth, language.weights)
        self.stage = stages_of(self.config)[0]
        """The training stage that it is in; `enter` leads into another."""
        self.trained: frozenset[str] = frozenset()
        """Names in the model of the parameters that train in this stage or did in one before."""
        self.validated: dict[str, Mean] = {}
        """What the validation under way has come to."""
        self.mark = ""
        """By which checkpoints know the stage, where the run has several."""
        self.enter(self.stage)
        if runtime.compile:
            self.model.encoder.compile_towers()

    @classmethod
    def from_config(cls, config: RunConfig, detail_branch: bool | None = None) -> FilaModule:
        """The module of a cell."""
        parts = ("geometry", "vit", "convnext", "fusion", "projector", "language", "train", "runtime", "seed", "preset")
        return cls(**{part: getattr(config, part) for part in parts}, detail_branch=detail_branch)

    def enter(self, stage: Stage, mark: str | None = None) -> None:
        """From now on, what the stage trains trains, and nothing else.

        mark: by which checkpoints of the stage are known: `stage_mark` of the whole run, of which a module has no data; None: as if there
        were none but the usual ones.

        Raises:
            ConfigError: the stage names parameters that there are not, one of them twice, or none that this run has.
        """
        self.stage, self.mark = stage, stage_mark(self.config, stage) if mark is None else mark
        if self.config.train.stages is not None:
            parts, stages = self.model.parts(), stages_of(self.config)[: stage.number + 1]
            named = [entries(parts, list(each.trains), each.field) for each in stages]
            self.model.let_train(name for own in named[-1].values() for name, _ in own)
            self.trained = frozenset(name for one in named for own in one.values() for name, _ in own)
        else:
            self.trained = frozenset(name for name, parameter in self.model.named_parameters() if parameter.requires_grad)
        self.sees_frozen = needs_detail(self.config) and not stage.run.convnext.trainable
        if self.model.encoder.convnext is not None:
            layout = torch.channels_last if self.sees_frozen else torch.contiguous_format
            self.model.encoder.convnext.to(memory_format=layout)

    def leave(self) -> None:
        """After the last stage: what any stage has trained counts as the run's trained parts."""
        if self.config.train.stages is not None:
            self.model.let_train(self.trained)

    def configure_model(self) -> None:
        """Lay the model out over the devices where the strategy keeps weights in parts."""
        if self.device_mesh is not None and not is_sharded(self.model):
            shard(self.model, self.device_mesh["data_parallel"])

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """As Lightning does. It refuses a fused optimiser, for fp16's sake, in bf16 too, whose gradients nobody has scaled."""
        runtime = self.config.runtime
        if runtime.fused_optimizer and runtime.precision == "bf16" and runtime.shares != "deepspeed":
            torch.nn.utils.clip_grad_norm_(
                [value for group in optimizer.param_groups for value in group["params"]], gradient_clip_val or math.inf
            )
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint holds what has trained: frozen parts are the config's. It knows its stage, where the run has several."""
        for name in self._frozen():
            checkpoint["state_dict"].pop(name, None)  # ranks beyond the first may hold none
        checkpoint[STAGE] = self.mark

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Frozen parts are those this module was built with."""
        own = self.state_dict()
        checkpoint["state_dict"] |= {name: own[name] for name in self._frozen()}

    def _frozen(self) -> list[str]:
        """Every name under which a parameter that has not trained stands in the state."""
        trained = {id(parameter) for name, parameter in self.model.named_parameters() if name in self.trained}
        return [name for name, parameter in self.named_parameters(remove_duplicate=False) if id(parameter) not in trained]

    def seen(self, vision: VisionBatch) -> VisionBatch:
        """The batch with the maps of a frozen ConvNeXt, computed now where no cache has them, in the cache's rounding."""
        return with_frozen_maps(self.model, vision) if self.sees_frozen else vision

    def answer(self, vision: VisionBatch) -> list[Answer]:
        """The answers to a batch of prompts, without what the run's template puts around them."""
        return answered(self.model, self.prompt, self.seen(vision))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """This rank's, and this forward pass's, part of the loss over the whole batch: the mean of the parts, as DDP takes it of gradients,
        is that loss."""
        tokens = (batch.labels != IGNORE).sum()
        several = batch.step_tokens is not None  # forward passes, of whose losses Lightning takes the mean
        everywhere = summed(tokens if batch.step_tokens is None else torch.full_like(tokens, batch.step_tokens))
        unseen = self._unseen(batch)
        if batch.vision is None or unseen:  # none of its rows could be read: the step counts, and nothing is learned from it
            parts = (local(parameter).sum() for parameter in self.model.trainable_parameters())
            nothing = sum(parts, torch.zeros((), device=self.device)) * 0.0
            self.log("loss", averaged(nothing.detach()), logger=True)
            return nothing
        if not everywhere:
            raise FilaError("a training batch has no answer tokens, so nothing could be learned from it; give every item an answer")
        output = self.model(self.seen(batch.vision), batch.labels)
        shares = world() * (self.stage.run.train.accumulate if several else 1)
        loss = output.loss if shares == 1 else output.loss * (tokens * shares / everywhere)
        self.log("loss", averaged(loss.detach()), logger=True)
        if self.truth is None or batch.truth is None:
            return loss
        wanted, given = self.truth(batch.truth.float()), output.projected[: len(batch.truth)]
        missed = unexplained(given, wanted) if world() == 1 else shared_unexplained(given, wanted)
        return loss + self.config.train.truth_weight * missed

    def _unseen(self, batch: Batch) -> bool:
        """Whether this rank has nothing to see; with weights in parts, which all ranks gather or none, whether any has."""
        unseen = batch.vision is None
        return bool(summed(batch.labels.new_tensor(int(unseen)))) if is_sharded(self.model) else unseen

    def on_after_backward(self) -> None:
        """A loss that is not finite ends the cell at once: every step after it would be wasted."""
        loss = self.trainer.callback_metrics.get("loss")
        if loss is not None and not math.isfinite(loss):
            stage, step = self.stage, self.stage.first + self.global_step
            if not stage.name:
                rate = self.config.train.learning_rate
                raise NotFiniteError(f"loss is {float(loss)} at step {step}; lower train.learning_rate (now {rate:g})")
            rates = ", ".join(f"{entry} {rate:g}" for entry, rate in stage.trains.items())
            raise NotFiniteError(
                f"loss is {float(loss)} at step {step}, in stage {stage.name!r}; lower {stage.field}.learning_rate (now {rates})"
            )

    def on_validation_epoch_start(self) -> None:
        self.validated = {name: Mean() for name in ("validation", *([VALIDATION_LOSS] if self.config.train.stages is not None else []))}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The scores of the answers that it generates and, in a run with training stages, the loss of answer tokens that are told what
        stands before them."""
        if batch.spare or batch.vision is None:
            return
        vision = self.seen(batch.vision)
        given = answered(self.model, self.prompt, vision)
        told = zip(given, batch.answers, batch.scores, strict=True)
        right = sum(_score(name)(answer.text, accepted) for answer, accepted, name in told if accepted)
        self.validated["validation"].add(right / len(given), len(given))
        if (texts := batch.answered) is not None and VALIDATION_LOSS in self.validated:
            whole = replace(vision, input_ids=texts.ids, prompt_lengths=texts.prompt_lengths, image_at=texts.image_at)
            self.validated[VALIDATION_LOSS].add(float(self.model(whole, texts.labels).loss), int((texts.labels != IGNORE).sum()))

    def on_validation_epoch_end(self) -> None:
        for name, mean in self.validated.items():
            self.log(name, mean.everywhere(self.device))

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> list[tuple[int, Answer]]:
        """(row of the pool, answer) of each row that could be read."""
        if batch.spare or batch.vision is None:
            return []
        return list(zip(batch.rows, self.answer(batch.vision), strict=True))

    def configure_optimizers(self) -> Any:
        train, rates, fused = self.stage.run.train, self.stage.trains, self.config.runtime.fused_optimizer
        if len(set(rates.values())) > 1:
            named = entries(self.model.parts(), list(rates), self.stage.field)  # of the model as it is laid out now
            return optimiser(rated_groups(named, rates, train.weight_decay), train, fused)
        rate = next(iter(rates.values()), train.learning_rate)
        return optimiser(one_group(self.model.trainable_parameters(), rate, train.weight_decay), train, fused)


def _score(name: str) -> Score:
    """The score by which a learning curve judges a row: its own, or, where that reads more than texts, being equal but for letter case."""
    own = SCORES[name]
    return SCORES["exact_nocase"] if own.known else own
