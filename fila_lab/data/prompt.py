"""The only place that makes ids of turns: what is asked, what is answered, where the image stands, and which ids carry loss.

A conversation is cut into pieces, and every piece is encoded by itself, the same way at training and at inference: what a model is asked
with is always the beginning of what it was trained on, whatever a tokenizer does at the border between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fila_lab.config.prompts import IMAGE, TEMPLATES, Template, check_template
from fila_lab.data.suite import Item, TaskRule, Turn

NO_ANSWER, CUT_OFF, OTHER_TEMPLATE = "no answer", "answer cut off", "not for this template"
UNASKED = (NO_ANSWER, CUT_OFF, OTHER_TEMPLATE)
"""Reasons for which a row whose image can be seen is not asked."""
_ANCHOR = "\n"
"""What a text goes on from, so that a tokenizer does not take it for the beginning of one. It joins with few texts, in SentencePiece with
none."""
_QUESTION = "{question}"
_PLACES = re.compile(r"(\{image\}|\{question\})")


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, as far as prompts need it. No torch here: it is given from outside.

    encode: texts -> ids, nothing put around them, and special tokens in them spelled out; token: id of a text that is one special token,
    None where there is no such token; end: id of the tokenizer's own end token; leading: how many ids the model puts before a sequence.
    """

    encode: Callable[[Sequence[str]], list[list[int]]]
    token: Callable[[str], int | None]
    end: int
    leading: int = 0


@dataclass(frozen=True)
class Dialogue:
    """What a prompt is made of: the turns, whether there is an image, and what stands behind every question."""

    turns: tuple[Turn, ...]
    image: bool = True
    ending: str = ""

    @classmethod
    def of(cls, item: Item, rule: TaskRule) -> Dialogue:
        """An item of a task."""
        return cls(item.turns, item.image is not None, rule.ending)


@dataclass
class Encoded:
    """Ids of a sequence, and of each whether it carries loss. image_at: how many of them stand before the image; None without one."""

    ids: list[int] = field(default_factory=list)
    loss: list[bool] = field(default_factory=list)
    image_at: int | None = None

    @property
    def prompt_length(self) -> int:
        """How many ids stand before the first that carries loss; of a prompt all."""
        return self.loss.index(True) if True in self.loss else len(self.ids)

    def labels(self, ignored: int = -100) -> list[int]:
        """The ids where they carry loss, else `ignored`."""
        return [token if counts else ignored for token, counts in zip(self.ids, self.loss, strict=True)]


@dataclass(frozen=True)
class _Piece:
    """A text to encode, an id that is known, or the image (neither). goes_on: the text is not the beginning of one."""

    text: str = ""
    token: int | None = None
    loss: bool = False
    goes_on: bool = False


_SEEN = _Piece()
"""The image."""


class Prompt:
    """Turns to ids by one of `TEMPLATES`.

    max_tokens: the longest sequence, image and what the model puts before it included; None: any length.

    Raises:
        ConfigError: there is no such template.
    """

    def __init__(self, template: str, tokens: Tokens, max_tokens: int | None = None) -> None:
        check_template("language.template", template)
        self.name, self.tokens, self.max_tokens = template, tokens, max_tokens
        self._template: Template = TEMPLATES[template]
        self._special = {text: token for text in self._template.special if (token := tokens.token(text)) is not None}
        self.lacking = tuple(text for text in self._template.special if text not in self._special)
        """Special tokens of the template that the tokenizer does not have."""
        (self._anchor,) = tokens.encode([_ANCHOR])
        self._end = self._ending()
        last = self._encoded([self._end])[0].ids
        self.ends: tuple[int, ...] = tuple(dict.fromkeys([*(last if len(last) == 1 else []), tokens.end]))
        """Ids that end an answer."""

    def _ending(self) -> list[_Piece]:
        """What ends an answer: the template's own token where the tokenizer has it, else the tokenizer's."""
        end = self._template.end
        if not end or (end in self._template.special and end not in self._special):
            return [_Piece(token=self.tokens.end, loss=True)]
        if end in self._special:
            return [_Piece(token=self._special[end], loss=True)]
        return [_Piece(end, loss=True, goes_on=True)]

    def said(self, text: str) -> str:
        """An answer without what the template puts around it, and without its end where that is no special token."""
        opening, closing = self._template.answer.split("{answer}")
        return text.removesuffix(self._template.end).removesuffix(closing).removeprefix(opening)

    def refused(self, dialogue: Dialogue, trained: bool) -> tuple[str, str] | None:
        """(reason, what is wrong) where a dialogue cannot be asked this way, or not be trained on; None where it can."""
        count = len(dialogue.turns)
        if self._template.one_turn and (count != 1 or not dialogue.image):
            found = f"it has {count} questions" if dialogue.image else "it has no image"
            return OTHER_TEMPLATE, f"template {self.name} takes one answer to an image, and {found}"
        unanswered = [number for number, turn in enumerate(dialogue.turns) if not turn.answers]
        if unanswered and (trained or unanswered[0] < count - 1):
            return NO_ANSWER, f"question {unanswered[0] + 1} has no answer that is known"
        return None

    def cut_off(self, encoded: Encoded, visual: int) -> tuple[str, str] | None:
        """(reason, what is wrong) where a sequence with `visual` visual tokens is longer than max_tokens: an answer would be cut off, or a
        prompt leave no room for one."""
        before = self.tokens.leading + (visual if encoded.image_at is not None else 0)
        needed = before + (len(encoded.loss) - encoded.loss[::-1].index(True) if True in encoded.loss else len(encoded.ids) + 1)
        if self.max_tokens is None or needed <= self.max_tokens:
            return None
        what = f"image and text need {needed} tokens, and {self.max_tokens} are read"
        return CUT_OFF, f"{what}; shorten the text, choose smaller canvases, or raise language.max_tokens"

    def training(self, dialogues: Iterable[Dialogue]) -> list[Encoded]:
        """Whole conversations: every answer carries loss, and what ends it. Of several accepted answers the first."""
        return self._encoded([self._pieces(dialogue, len(dialogue.turns)) for dialogue in dialogues])

    def asking(self, dialogues: Iterable[Dialogue]) -> list[Encoded]:
        """Conversations up to where the model is to answer the last question; first answers to earlier ones stand there, without loss."""
        rows = self._encoded([self._pieces(dialogue, len(dialogue.turns) - 1) for dialogue in dialogues])
        return [replace(row, loss=[False] * len(row.ids)) for row in rows]

    def written(self, text: str, image: str, special: Mapping[str, int]) -> Encoded:
        """A text that is in the template's words already, with `image` where the image stands: cut where a dialogue is, at the image and at
        special tokens, those of `special` beside the template's own. Where an answer began in the midst of words cannot be told."""
        pieces: list[_Piece] = []
        for number, part in enumerate(text.split(image)):
            pieces += [_SEEN] if number else []
            self._read(pieces, part, {**special, **self._special}, first=True)
        return self._encoded([pieces])[0]

    def _pieces(self, dialogue: Dialogue, answered: int) -> list[_Piece]:
        """The pieces of a dialogue of which so many questions are answered."""
        template, pieces, before = self._template, [], self._template.head
        opening, closing = template.answer.split("{answer}")
        for number, turn in enumerate(dialogue.turns):
            image = dialogue.image and not number
            pieces += self._asked(before + template.ask, turn.question + dialogue.ending, image, first=not number)
            before = ""
            if number < answered:
                fresh = not template.joined or not pieces or pieces[-1] is _SEEN
                pieces.append(_Piece(f"{opening}{turn.answers[0]}{closing}", loss=True, goes_on=not fresh))
                pieces += self._end
                before = template.between
        return [*pieces, *self._asked(before, "", image=False, first=False)]

    def _asked(self, template: str, question: str, image: bool, first: bool) -> list[_Piece]:
        """A template's text with a question in it. What stands between special tokens and the image is one piece."""
        pieces: list[_Piece] = []
        for part in _PLACES.split(template.replace(IMAGE, self._template.image if image else "")):
            if part == IMAGE:
                pieces.append(_SEEN)
            elif part == _QUESTION:
                self._go_on(pieces, question, first)
            else:
                self._read(pieces, part, self._special, first)
        return pieces

    def _read(self, pieces: list[_Piece], text: str, special: Mapping[str, int], first: bool) -> None:
        """Add a text in which `special` texts are one token each."""
        for part in _cut(text, special):
            if part in special:
                pieces.append(_Piece(token=special[part]))
            else:
                self._go_on(pieces, part, first)

    def _go_on(self, pieces: list[_Piece], text: str, first: bool) -> None:
        """Add a text to what stands there."""
        if not text:
            return
        if pieces and pieces[-1].text:
            pieces[-1] = replace(pieces[-1], text=pieces[-1].text + text)
        else:
            fresh = pieces[-1] is _SEEN if pieces else first
            pieces.append(_Piece(text, goes_on=self._template.joined and not fresh))

    def _encoded(self, rows: Sequence[Sequence[_Piece]]) -> list[Encoded]:
        ids = self._ids({(piece.text, piece.goes_on): [] for pieces in rows for piece in pieces if piece.text})
        found = []
        for pieces in rows:
            row = Encoded()
            for piece in pieces:
                if piece is _SEEN:
                    row.image_at = len(row.ids)
                own = ids[piece.text, piece.goes_on] if piece.text else [] if piece.token is None else [piece.token]
                row.ids += own
                row.loss += [piece.loss] * len(own)
            found.append(row)
        return found

    def _ids(self, texts: dict[tuple[str, bool], list[int]]) -> dict[tuple[str, bool], list[int]]:
        """Every text's ids, each encoded once."""
        going_on = [text for text, goes_on in texts if goes_on]
        for text, ids in zip(going_on, self._encode([_ANCHOR + text for text in going_on]), strict=True):
            if ids[: len(self._anchor)] == self._anchor:
                texts[text, True] = ids[len(self._anchor) :]
        left = [(text, goes_on) for (text, goes_on), ids in texts.items() if not ids]
        texts |= zip(left, self._encode([text for text, _ in left]), strict=True)
        return texts

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return self.tokens.encode(texts) if texts else []


def _cut(text: str, special: Iterable[str]) -> list[str]:
    """A text cut at special ones, which stand among its parts."""
    known = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    return [part for part in (re.split(f"({known})", text) if known else [text]) if part]
