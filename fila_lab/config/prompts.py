"""How turns are put into words: the laboratory's own way, and the templates that public models were trained with (LLaVA, LLaVA-NeXT)."""

from __future__ import annotations

from dataclasses import dataclass

from fila_lab.config.base import ConfigError, did_you_mean

IMAGE = "{image}"
"""Where the visual tokens stand."""


@dataclass(frozen=True)
class Template:
    """A conversation's text: `head`, then for every turn `ask`, from where the model goes on with `answer`, `end` and `between`.

    head: before the first question; ask: with {question}, and {image} in the first turn of a row with an image; image: what {image} stands
    for, the line break behind it included; answer: with {answer}; end: the token that ends an answer ("": the tokenizer's own end token);
    between: behind it; special: texts that are one token of the tokenizer, where it has them; joined: texts go on from what stands before
    them, where a tokenizer marks the beginning of a text; one_turn: one answer to an image, whatever is asked.
    """

    ask: str
    answer: str = "{answer}"
    head: str = ""
    image: str = "{image}\n"
    end: str = ""
    between: str = ""
    special: tuple[str, ...] = ()
    joined: bool = True
    one_turn: bool = False


def _chatml(system: str) -> Template:
    return Template(
        head=f"<|im_start|>system\n{system}<|im_end|>\n",
        ask="<|im_start|>user\n{image}{question}<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>",
        between="\n",
        special=("<|im_start|>", "<|im_end|>"),
    )


_QWEN = _chatml("You are a helpful assistant.")
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

TEMPLATES: dict[str, Template] = {
    "bare": Template(ask="{image}{question}", image="{image}", joined=False),
    "vicuna_v1": Template(head=f"{_SYSTEM} ", ask="USER: {image}{question} ASSISTANT:", answer=" {answer}", end="</s>", special=("</s>",)),
    "qwen_1_5": _QWEN,
    "qwen_2": _QWEN,
    "qwen_2_5": _chatml("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "smollm2": _chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "plain": Template(ask="{image}", image="{image}", end="\n", one_turn=True),
}
"""bare: question and answer as they are; plain: LLaVA's first training stage, image and caption."""


def fixed_tokens(name: str, tokenizer: str) -> int:
    """About how many tokens a template puts around one question and its answer: characters where they are tokens, else four characters a
    token and one a special token."""
    template = TEMPLATES[name]
    text = template.head + template.ask.replace("{question}", "").replace(IMAGE, template.image.replace(IMAGE, ""))
    text += template.answer.replace("{answer}", "") + template.end + template.between
    if tokenizer in ("characters", "words"):
        return len(text)
    special = sum(text.count(one) for one in template.special)
    for one in template.special:
        text = text.replace(one, "")
    return special + -(-len(text) // 4)


def check_template(field: str, name: str) -> None:
    """ConfigError where there is no template of this name."""
    if name not in TEMPLATES:
        raise ConfigError(f"{field} = {name!r} is unknown{did_you_mean(name, TEMPLATES)}; choose {', '.join(TEMPLATES)}")
