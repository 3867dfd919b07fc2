"""Conversations as a saved model reads them, for transformers: the template's words through the tokenizer, and the image's places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from fila_lab.data.prompt import Dialogue, Encoded, Prompt
from fila_lab.data.suite import Turn
from fila_lab.hub.configuration import IMAGE_TOKEN
from fila_lab.hub.images import FilaImageProcessor, flat
from fila_lab.modeling.language import leading_tokens
from fila_lab.training.prompts import prompt_of

Message = Mapping[str, Any]
_PLACES = ("image", "url", "path", "base64")
"""Where a block of a message may say what its image is."""
_PADDING = ("padding", "max_length", "padding_side")
"""What a tokenizer is told of it."""


class FilaProcessor(ProcessorMixin):
    """Texts and images to what `FilaForConditionalGeneration` reads, one image a text at most.

    A conversation given to `apply_chat_template(..., tokenize=True, add_generation_prompt=True)` becomes the very ids of a training prompt,
    whatever it says: special tokens in it are spelled out. A text given whole is cut at the template's special tokens and at the image.

    template: a name of `fila_lab.config.prompts.TEMPLATES`.
    """

    def __init__(
        self,
        image_processor: FilaImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        template: str = "bare",
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.template = template
        self.image_token, self.image_token_id = IMAGE_TOKEN, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)

    @property
    def prompt(self) -> Prompt:
        """The template's words through the tokenizer."""
        return prompt_of(self.template, self.tokenizer)

    @property
    def leading(self) -> list[int]:
        """Ids that the tokenizer puts before every text."""
        return leading_tokens(self.tokenizer)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        padding: bool | str = False,
        max_length: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        add_special_tokens: bool = True,
    ) -> BatchFeature:
        """Texts in the template's words (`apply_chat_template`), and their images, in their order.

        text: one, or a list; IMAGE_TOKEN stands once in each that has an image; images: for those texts, as FilaImageProcessor takes them;
        padding, max_length, padding_side, return_tensors: as a tokenizer takes them; add_special_tokens: whether what the tokenizer puts
        before every text stands there.

        Raises:
            ValueError: neither texts nor images, or others than the texts have places for.
        """
        given = [] if images is None else [image for image in flat(images) if image is not None]
        if text is None:
            if not given:
                raise ValueError("give text, images, or both")
            return self.image_processor(given, return_tensors=return_tensors)
        texts = [text] if isinstance(text, str) else list(text)
        counts = [one.count(self.image_token) for one in texts]
        if max(counts) > 1:
            raise ValueError(f"a text has {max(counts)} places for an image ({self.image_token}), and a model of this kind looks at one")
        if sum(counts) != len(given):
            raise ValueError(f"the texts have {sum(counts)} places for an image ({self.image_token}), and {len(given)} images are given")
        eos = self.tokenizer.eos_token
        special = {} if eos is None else {eos: self.tokenizer.eos_token_id}
        prompt = self.prompt
        rows = [prompt.written(one, self.image_token, special) for one in texts]
        left = iter(given)
        seen = [next(left) if count else None for count in counts]
        padded = {"padding": padding, "max_length": max_length, "padding_side": padding_side, "return_tensors": return_tensors}
        return self._batch(rows, seen, self.leading if add_special_tokens else [], **padded)

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """A conversation, or a list of them, in the template's words, or with `tokenize` what the model reads of it. Messages are of `user`
        and `assistant` in turn, their content text or blocks of `text` and `image`; a system text is not the user's to give.

        With another template or what only words can say (tools, ...), or where the last message is no question to be answered, the words
        are made first and then cut (`__call__`).

        Raises:
            ValueError: messages that are no such conversation, or more images than one.
        """
        several = bool(conversation) and not isinstance(conversation[0], Mapping)
        options = {"padding": False, **(processor_kwargs or {}), **{name: kwargs[name] for name in _PADDING if name in kwargs}}
        in_words = chat_template is not None or any(value for name, value in kwargs.items() if name not in _PADDING)
        if not tokenize or not add_generation_prompt or in_words:
            return super().apply_chat_template(
                conversation,
                chat_template,
                add_generation_prompt=add_generation_prompt,
                tokenize=tokenize,
                return_dict=return_dict,
                return_tensors=return_tensors,
                processor_kwargs=processor_kwargs,
                **kwargs,
            )
        read = [_read(one) for one in (conversation if several else [conversation])]
        rows, images = self.prompt.asking([dialogue for dialogue, _ in read]), [image for _, image in read]
        inputs = self._batch(rows, images, self.leading, **options | {"return_tensors": return_tensors or options.get("return_tensors")})
        return inputs if return_dict else inputs["input_ids"]

    def _batch(self, rows: Sequence[Encoded], images: Sequence[Any], leading: Sequence[int], **padded: Any) -> BatchFeature:
        """What the model reads of encoded texts and their images, None where a text has none."""
        seen: BatchFeature | dict[str, Any] = {}
        sizes: Any = [(0, 0)] * len(rows)
        if any(image is not None for image in images):
            seen = self.image_processor(list(images), return_tensors=padded["return_tensors"])
            sizes = [tuple(map(int, size)) for size in seen["image_sizes"]]
        texts = []
        for row, (height, width) in zip(rows, sizes, strict=True):
            at = row.image_at or 0
            places = [self.image_token_id] * (self.image_processor.tokens(height, width) if height else 0)
            texts.append([*leading, *row.ids[:at], *places, *row.ids[at:]])
        return BatchFeature({**self.tokenizer.pad({"input_ids": texts}, **padded), **seen})

    @property
    def model_input_names(self) -> list[str]:
        """What `__call__` gives."""
        return ["input_ids", "attention_mask", *self.image_processor.model_input_names]

    def said(self, text: str) -> str:
        """An answer without what the template puts around it."""
        return self.prompt.said(text)


def _read(messages: Sequence[Message]) -> tuple[Dialogue, Any]:
    """A conversation whose last question is to be answered, and its image, None where it has none."""
    roles = [str(message["role"]) for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        said = "this model was trained with its own system text" if "system" in roles else "questions and answers take turns"
        raise ValueError(f"messages are of {', '.join(roles) or 'nobody'}; {said}: give user, assistant, ..., user")
    images = [_image(block) for message in messages for block in _blocks(message) if block["type"] == "image"]
    if len(images) > 1:
        raise ValueError(f"the conversation has {len(images)} images, and a model of this kind looks at one; give one")
    words = ["".join(str(block["text"]) for block in _blocks(message) if block["type"] == "text") for message in messages]
    turns = [Turn(words[number], tuple(words[number + 1 : number + 2])) for number in range(0, len(words), 2)]
    return Dialogue(tuple(turns), image=bool(images)), images[0] if images else None


def _blocks(message: Message) -> list[Message]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _image(block: Message) -> Any:
    for place in _PLACES:
        if (image := block.get(place)) is not None:
            if (count := len(flat(image))) != 1:
                raise ValueError(f"an image block holds {count} images, and a model of this kind looks at one; give one")
            return image
    raise ValueError(f"an image block says nothing of its image; give one of {', '.join(_PLACES)}")
