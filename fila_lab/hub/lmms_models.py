"""A saved model as lmms-eval asks models (extra `eval`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages
from tqdm import tqdm

from fila_lab.hub.configuration import IMAGE_TOKEN
from fila_lab.hub.door import load

_OWN = ("max_new_tokens", "num_beams", "do_sample", "temperature", "top_p")
"""What a task may say of generation that `generate` is told; `until` is looked for in what comes back, and the rest is of other models."""


class FilaChat(lmms):
    """Answers the messages that a task makes of a document.

    Args:
        pretrained: a folder of `fila-lab save`.
        batch_size: questions asked at a time.
        device: e.g. `cuda:0`; by default the CPU. Of several processes (torchrun, accelerate launch) each takes its own GPU for `cuda`.
        dtype: type of the weights; by default as they were saved.

    Raises:
        ValueError: a batch size that is no number.
    """

    is_simple = False

    def __init__(self, pretrained: str, batch_size: int | str = 1, device: str | None = None, dtype: str | None = None) -> None:
        super().__init__()
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ValueError(f"batch_size={batch_size!r}: say how many questions are asked at a time, e.g. 1")
        self.batch_size = int(batch_size)
        if device == "cuda" and (own := os.environ.get("LOCAL_RANK")) is not None:
            device = f"cuda:{own}"
        self.loaded = load(pretrained, device, **({} if dtype is None else {"dtype": dtype}))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.loaded.model.device

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The answers, in the order of the requests; those of equal settings are asked together."""
        found: dict[int, str] = {}
        progress = tqdm(total=len(requests), disable=self.rank != 0, desc="fila")
        for numbers in _batches([self._settings(request) for request in requests], self.batch_size):
            chosen = [requests[number] for number in numbers]
            settings = self._settings(chosen[0])
            answers = self._asked([self._messages(request) for request in chosen], settings)
            for number, request, answer in zip(numbers, chosen, answers, strict=True):
                found[number] = answer
                self.cache_hook.add_partial("generate_until", (request.args[0], settings), answer)
            progress.update(len(numbers))
        progress.close()
        return [found[number] for number in range(len(requests))]

    def _asked(self, conversations: list[list[dict[str, Any]]], settings: dict[str, Any]) -> list[str]:
        inputs = self.loaded.processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        answers = self.loaded.generate(inputs.to(self.loaded.model.device), **generation(settings))
        until = settings.get("until") or ()
        ends = [until] if isinstance(until, str) else list(until)
        return [cut(answer, ends) for answer in answers]

    def _settings(self, request: Instance) -> dict[str, Any]:
        """What the task says of generation."""
        return dict(request.args[2])

    def _messages(self, request: Instance) -> list[dict[str, Any]]:
        """The conversation of a request, in transformers' form."""
        _, doc_to_messages, _, doc_id, task, split = request.args
        messages: list[dict[str, Any]] = ChatMessages(messages=doc_to_messages(self.task_dict[task][split][doc_id])).to_hf_messages()
        return messages

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not to be had."""
        raise NotImplementedError("fila answers questions and weighs no given answers; choose a task of output_type generate_until")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not to be had."""
        raise NotImplementedError("fila answers one question a document; choose a task of output_type generate_until")


class FilaSimple(FilaChat):
    """Answers a document's text and image."""

    is_simple = True

    def _settings(self, request: Instance) -> dict[str, Any]:
        return dict(request.args[1])

    def _messages(self, request: Instance) -> list[dict[str, Any]]:
        text, _, doc_to_visual, doc_id, task, split = request.args
        visuals = [visual for visual in doc_to_visual(self.task_dict[task][split][doc_id]) or () if visual is not None]
        words = text.replace(f"{IMAGE_TOKEN}\n", "").replace(IMAGE_TOKEN, "")  # the place of the image is the template's
        return [{"role": "user", "content": [*({"type": "image", "image": image} for image in visuals), {"type": "text", "text": words}]}]


def generation(settings: dict[str, Any]) -> dict[str, Any]:
    """A task's settings as `generate` takes them: no temperature, or 0, is greedy."""
    own = {name: settings[name] for name in _OWN if settings.get(name) is not None}
    own["do_sample"] = bool(own.get("do_sample", True) and own.get("temperature", 0))
    if not own["do_sample"]:
        own = {name: value for name, value in own.items() if name not in ("temperature", "top_p")}
    return own


def cut(answer: str, ends: Sequence[str]) -> str:
    """An answer up to the first of these texts."""
    for end in filter(None, ends):
        answer = answer.split(end)[0]
    return answer


def _batches(settings: Sequence[dict[str, Any]], size: int) -> Iterator[list[int]]:
    """Numbers of requests, those of equal settings together, at most `size` at a time."""
    groups: dict[str, list[int]] = {}
    for number, own in enumerate(settings):
        groups.setdefault(repr(sorted(own.items(), key=str)), []).append(number)
    for numbers in groups.values():
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))
