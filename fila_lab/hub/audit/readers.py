"""Who is asked: the contract of a reader, and a model of transformers behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fila_lab.config.base import FilaError, MachineError
from fila_lab.data.seam import SeamItem

LONGEST_ANSWER = 24
"""Tokens; a model that says more has not answered as it was asked."""
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """An item and the question about it, in words. A reader is to look at `item.image` and `question` alone."""

    item: SeamItem
    question: str


class Reader(Protocol):
    """Whoever answers questions about images."""

    def __call__(self, asked: Sequence[Asked]) -> list[str]:
        """One answer each, in order."""


class ModelReader:
    """An image-text-to-text model of transformers with its own processor: greedy answers, prompts by its own chat template where it has
    one, else the image's token and the question."""

    def __init__(self, model: Any, processor: Any, batch_size: int = 1) -> None:
        self.model, self.processor, self.batch_size = model.eval(), processor, batch_size
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # masked, whatever it is
        self.templated = bool(getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None))
        if not self.templated and getattr(processor, "image_token", None) is None:
            raise FilaError(
                f"{type(processor).__name__} has neither a chat template nor an image token; the audit cannot write its prompts"
            )

    @property
    def setting(self) -> dict[str, str]:
        """On what, and with which versions, it answers."""
        import torch
        import transformers

        versions = {"transformers": transformers.__version__, "torch": torch.__version__}
        run = {"device": str(self.model.device), "dtype": str(self.model.dtype).removeprefix("torch."), "batch size": str(self.batch_size)}
        return run | versions

    def __call__(self, asked: Sequence[Asked]) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(asked), self.batch_size):
            answers += self._batch(asked[start : start + self.batch_size])
        return answers

    def _batch(self, asked: Sequence[Asked]) -> list[str]:
        import torch

        texts = [self._prompt(one.question) for one in asked]
        begins = self.processor.tokenizer.bos_token
        inputs = self.processor(
            images=[[one.item.image] for one in asked],
            text=texts,
            padding=True,
            return_tensors="pt",
            add_special_tokens=not (begins and texts[0].startswith(begins)),  # a template has written them already
        ).to(self.model.device, self.model.dtype)
        try:
            with torch.inference_mode():
                written = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=LONGEST_ANSWER)
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"the device has no memory for {len(asked)} pages at once; lower --batch-size, or choose a page of fewer --tiles", "memory"
            ) from error
        said = self.processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in said]

    def _prompt(self, question: str) -> str:
        if not self.templated:
            return f"{self.processor.image_token}\n{question}"
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        text: str = self.processor.apply_chat_template([turn], add_generation_prompt=True)
        return text


def open_processor(name: str) -> tuple[Any, Any]:
    """(processor, config) of a model by folder or hub name, from the cache where it has them; no weights are read.

    Raises:
        FilaError: there is no such model, or it is none that takes images and text.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    config = _found(AutoConfig.from_pretrained, name)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise FilaError(f"MODEL = {name}: {type(config).__name__} is no model that answers questions about images; choose one that is")
    return _found(AutoProcessor.from_pretrained, name), config


def open_reader(name: str, processor: Any, device: str, dtype: str, batch_size: int) -> ModelReader:
    """The model of a name as a reader. `dtype`: as torch names it; `auto`: the checkpoint's.

    Raises:
        FilaError: the device is not there, or the weights cannot be read.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise FilaError(f"--device {device}: torch finds no CUDA device here; choose cpu")
    model: Any = _found(AutoModelForImageTextToText.from_pretrained, name, dtype=dtype)
    return ModelReader(model.to(device), processor, batch_size)


def _found(load: Callable[..., T], name: str, **options: Any) -> T:
    """What a loader of transformers finds under a name, the network asked only where the cache has nothing."""
    from fila_lab.modeling.quiet import without_bars

    with suppress(OSError, ValueError), without_bars():
        return load(name, local_files_only=True, **options)
    try:
        return load(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FilaError(
            f"MODEL = {name}: cannot be loaded by transformers ({first}); give a folder that save_pretrained wrote, or the name of a "
            "model on the hub"
        ) from error
