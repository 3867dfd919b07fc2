"""What transformers knows a saved model by: the run that computes it, and its language model's own configuration."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fila_lab.config import RunConfig
from fila_lab.config.renamed import present_run
from fila_lab.config.runtime import RuntimeConfig
from fila_lab.config.stage_runs import stages_of
from fila_lab.modeling import FilaModel

IMAGE_TOKEN = "<image>"
"""Stands in a text where the image is seen; a processor writes as many of them as the image has visual tokens."""


class FilaConfig(PreTrainedConfig):
    """A saved FILA model.

    run: the parts of a RunConfig that say what is computed (`computed_run`); text_config: the language model's; image_token_id: id of
    IMAGE_TOKEN, which may lie beyond the language model's embeddings, for it is never embedded; pixel_statistics: tower -> mean and
    standard deviation of red, green and blue; encoder_in_float32: whether all but the language model stays float32 where the model is
    loaded in a shorter type, as it was trained.
    """

    model_type = "fila"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 (transformers' own form)

    def __init__(
        self,
        run: dict[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        image_token_id: int | None = None,
        pixel_statistics: dict[str, Any] | None = None,
        encoder_in_float32: bool = False,
        **kwargs: Any,
    ) -> None:
        self.run = run or {}
        if not isinstance(text_config, PreTrainedConfig):
            told = dict(text_config or {"model_type": "llama"})
            text_config = CONFIG_MAPPING[told.pop("model_type")](**told)
        self.text_config = text_config
        self.image_token_id = image_token_id
        self.pixel_statistics = pixel_statistics or {}
        self.encoder_in_float32 = encoder_in_float32
        super().__init__(**kwargs)

    @property
    def run_config(self) -> RunConfig:
        """The run as the laboratory knows it.

        Raises:
            ValueError: it lacks something, or has what this version does not know.
        """
        return RunConfig.model_validate(present_run(self.run))

    @classmethod
    def of(cls, model: FilaModel, image_token_id: int) -> FilaConfig:
        """Of a model in the laboratory."""
        text = type(model.language.config).from_dict(model.language.config.to_dict())
        text.name_or_path = ""
        towers = {"vit": model.encoder.vit, "convnext": model.encoder.convnext}
        own, seen = model.language.dtype, next(model.projector.parameters()).dtype
        return cls(
            run=computed_run(model.config),
            text_config=text,
            image_token_id=image_token_id,
            pixel_statistics={name: tower.statistics for name, tower in towers.items() if tower is not None},
            encoder_in_float32=own != seen,
            dtype=own,
            tie_word_embeddings=bool(getattr(text, "tie_word_embeddings", False)),
        )


def computed_run(config: RunConfig) -> dict[str, Any]:
    """A run without where its weights and data came from, nor how it was trained and on what machine: what a saved model computes. (Whether
    its ConvNeXt was frozen at last is part of that: scored answers read a frozen one's maps as training did, in the cache's rounding.)"""
    language = config.language.model_copy(update={"weights": "random", "tokenizer": ".", "lora": None})
    frozen = not stages_of(config)[-1].run.convnext.trainable
    kept = {
        "tower_pairs": (),
        "vit": config.vit.model_copy(update={"weights": "random"}),
        "convnext": config.convnext.model_copy(update={"weights": "random", "trainable": not frozen}),
        "language": language,
        "runtime": RuntimeConfig(precision=config.runtime.precision, attention=config.runtime.attention),
    }
    content: dict[str, Any] = config.model_copy(update=kept).model_dump(mode="json", exclude={"data", "train"})
    return content
