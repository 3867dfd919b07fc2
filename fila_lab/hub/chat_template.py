"""A template of the laboratory as transformers' chat template, in Jinja."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from fila_lab.config.prompts import IMAGE, TEMPLATES

_PLACES = re.compile(r"(\{image\}|\{question\})")
_WORDS = """\
{%- macro words(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}{%- for block in content if block.type == "text" -%}{{ block.text }}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set seen = namespace(image=false, asked=false) -%}
{%- for message in messages if message.content is not string -%}
{%- for block in message.content if block.type == "image" -%}{%- set seen.image = true -%}{%- endfor -%}
{%- endfor -%}
"""


def jinja(template: str, image_token: str, eos_token: str, lacking: Collection[str]) -> str:
    """The chat template of one of `TEMPLATES`: the words that a run was trained with, the image where they have it, whatever place it takes
    in a message.

    lacking: special tokens of the template that the tokenizer does not have, which eos_token stands for at an answer's end.
    """
    words = TEMPLATES[template]
    end = eos_token if not words.end or words.end in lacking else words.end
    before, after = _asked(words.ask, words.image.replace(IMAGE, image_token))
    opening, closing = words.answer.split("{answer}")
    return (
        f"{_WORDS}{{{{- {_text(words.head)} -}}}}\n"
        "{%- for message in messages -%}\n"
        '{%- if message.role == "user" -%}\n'
        f"{before}{{%- set seen.asked = true -%}}\n"
        f"{{%- if add_generation_prompt or not loop.last -%}}{{{{- {_text(after)} -}}}}{{%- endif -%}}\n"
        '{%- elif message.role == "assistant" -%}\n'
        f"{{{{- {_text(opening)} -}}}}{{{{- words(message.content) -}}}}{{{{- {_text(closing + end + words.between)} -}}}}\n"
        "{%- else -%}\n"
        '{{- raise_exception("this model was trained with its own system text; give user and assistant messages") -}}\n'
        "{%- endif -%}\n"
        "{%- endfor -%}\n"
    )


def _asked(ask: str, image: str) -> tuple[str, str]:
    """Jinja of a question up to its end, and the text behind it."""
    *parts, after = _PLACES.split(ask)
    found = []
    for part in parts:
        if part == IMAGE:
            found.append(f"{{%- if seen.image and not seen.asked -%}}{{{{- {_text(image)} -}}}}{{%- endif -%}}\n")
        else:
            found.append("{{- words(message.content) -}}\n" if part == "{question}" else f"{{{{- {_text(part)} -}}}}\n")
    return "".join(found), after


def _text(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)
