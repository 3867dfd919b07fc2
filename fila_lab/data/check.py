"""What a split of a suite holds, in numbers: rows, tasks, sizes and canvases of its images, lengths of its texts, what cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.parallel import Progress, in_chunks
from fila_lab.data.prompt import Dialogue
from fila_lab.data.suite import Item, SetAside, Suite, UnusableRow
from fila_lab.imaging import Geometry, hardly_seen

REPORTED = 512
"""Rows between two reports of progress."""
EXAMPLES = 3
"""Rows that are shown of a kind."""
SAMPLED = 2000
"""Rows whose texts are encoded, spread evenly over the split."""
CHUNK = 64
QUANTILES = {"min": 0.0, "median": 0.5, "95 %": 0.95, "max": 1.0}

Count = Callable[[Sequence[Dialogue]], tuple[list[int], list[int]]]
"""Tokens of the prompts and of the answers of some dialogues."""


@dataclass(frozen=True)
class Canvas:
    """The images that go on one canvas: `size` (width, height) in px as the ViT sees it, `tiles` it has, `rows` whose image it is for."""

    size: tuple[int, int]
    tiles: int
    rows: int


@dataclass(frozen=True)
class SplitCheck:
    """A split: quantiles are those of QUANTILES, of px, characters or tokens, empty where there is nothing to count."""

    rows: int
    tasks: Mapping[str, int]
    text_only: int
    images: int
    width: Mapping[str, int]
    height: Mapping[str, int]
    canvases: Sequence[Canvas]
    hardly_seen: Sequence[str]
    """What a canvas leaves of images of which it shows hardly anything, one sentence a size."""
    hardly_seen_rows: int
    turns: Mapping[str, int]
    questions: Mapping[str, int]
    answers: Mapping[str, int]
    unanswered: int
    """Rows of which some answer is not known."""
    encoded_rows: int
    question_tokens: Mapping[str, int]
    answer_tokens: Mapping[str, int]
    reasons: Mapping[str, int]
    """Why rows are set aside -> how many."""
    examples: Mapping[str, Sequence[SetAside]]
    decoded: int
    """Images whose pixels were read."""


@dataclass
class _Seen:
    """What is gathered row by row."""

    tasks: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    text_only: int = 0
    images: set[str] = field(default_factory=set)
    turns: list[int] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    unanswered: int = 0
    sample: list[Item] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)
    """Image -> the first heading that shows it, where pixels are to be read."""
    aside: list[SetAside] = field(default_factory=list)
    """Rows whose image's header cannot be read."""


def check_split(
    suite: Suite,
    split: str,
    geometry: GeometryConfig,
    count: Count | None = None,
    pixels: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> SplitCheck:
    """All of a split's rows, looked at once.

    Args:
        suite: an opened suite.
        split: one of its splits.
        geometry: by which images go on canvases.
        count: counts tokens; None leaves them out.
        pixels: read every image too, with `workers` processes, to find those that are damaged behind their header.
        workers: processes.
        progress: told how far it is.
    """
    seen = _gathered(suite, split, pixels, progress)
    canvases, hardly = _on_canvases(seen.sizes, geometry)
    aside: list[SetAside] = [*suite.set_aside(split), *seen.aside]
    if pixels:
        aside += _damaged(suite, split, list(seen.first.values()), workers, progress)
    reasons = Counter(one.reason for one in aside)
    rules = suite.tasks()
    dialogues = [Dialogue.of(item, rules[item.task]) for item in seen.sample] if count else []
    asked, answered = count(dialogues) if count else ([], [])
    return SplitCheck(
        rows=sum(seen.tasks.values()),
        tasks=dict(seen.tasks),
        text_only=seen.text_only,
        images=len(seen.images),
        width=_quantiles((size[0] for size in seen.sizes), seen.sizes.values()),
        height=_quantiles((size[1] for size in seen.sizes), seen.sizes.values()),
        canvases=canvases,
        hardly_seen=[sentence for sentence, _ in hardly],
        hardly_seen_rows=sum(rows for _, rows in hardly),
        turns=_quantiles(seen.turns),
        questions=_quantiles(seen.questions),
        answers=_quantiles(seen.answers),
        unanswered=seen.unanswered,
        encoded_rows=len(dialogues),
        question_tokens=_quantiles(asked),
        answer_tokens=_quantiles(answered),
        reasons=dict(reasons.most_common()),
        examples={reason: [one for one in aside if one.reason == reason][:EXAMPLES] for reason in reasons},
        decoded=len(seen.first),
    )


def _gathered(suite: Suite, split: str, pixels: bool, progress: Progress | None) -> _Seen:
    seen, total = _Seen(), suite.length(split)
    stride = max(1, -(-total // SAMPLED))
    for index in range(total):
        if progress and (index % REPORTED == 0 or index == total - 1):
            progress(f"reading {split} rows", index + 1, total)
        try:
            heading = suite.heading(split, index)
        except UnusableRow as error:
            seen.aside.append(error.aside)
            continue
        for item in suite.items(split, index):
            seen.tasks[item.task] += 1
            if heading.size is None:
                seen.text_only += 1
            else:
                seen.sizes[heading.size] += 1
                seen.images.add(item.image_id)
                if pixels:
                    seen.first.setdefault(item.image_id, index)
            seen.turns.append(len(item.turns))
            seen.questions.append(sum(len(turn.question) for turn in item.turns))
            accepted = [turn.answers[0] for turn in item.turns if turn.answers]
            seen.answers += [len(answer) for answer in accepted]
            seen.unanswered += len(accepted) < len(item.turns)
            if index % stride == 0:
                seen.sample.append(item)
    return seen


def _on_canvases(sizes: Counter[tuple[int, int]], geometry: GeometryConfig) -> tuple[list[Canvas], list[tuple[str, int]]]:
    """The canvases by size, and (what is wrong, rows) of images of which they show hardly anything, the most frequent first."""
    rows: Counter[tuple[tuple[int, int], int]] = Counter()
    hardly = []
    for size, number in sizes.most_common():
        own = Geometry.of(*size, geometry)
        rows[own.canvas, own.tiles] += number
        if sentence := hardly_seen(own):
            hardly.append((sentence, number))
    return [Canvas(size, tiles, number) for (size, tiles), number in sorted(rows.items(), key=lambda pair: pair[0][::-1])], hardly


def _damaged(suite: Suite, split: str, indices: Sequence[int], workers: int, progress: Progress | None) -> list[SetAside]:
    """What cannot be read of the images of some headings."""
    found: list[SetAside] = []
    chunks, done = [indices[i : i + CHUNK] for i in range(0, len(indices), CHUNK)], 0
    for number, aside in in_chunks(_Reader, (suite, split), chunks, workers, f"{split} images"):
        found += aside
        done += number
        if progress:
            progress(f"reading {split} images", done, len(indices))
    return found


class _Reader:
    """Reads the pixels of headings: (how many, those that cannot be read)."""

    def __init__(self, suite: Suite, split: str) -> None:
        self.suite, self.split = suite, split

    def __call__(self, indices: Sequence[int]) -> tuple[int, list[SetAside]]:
        aside = []
        for index in indices:
            item = self.suite.items(self.split, index)[0]
            try:
                item.pixels()
            except UnusableRow as error:
                aside.append(SetAside(item.item_id, error.aside.reason, error.aside.message))
        return len(indices), aside


def _quantiles(values: Iterable[int], weights: Iterable[int] | None = None) -> dict[str, int]:
    """QUANTILES of whole numbers, each so often: values that are there."""
    numbers = np.fromiter(values, np.int64)
    if not len(numbers):
        return {}
    if weights is not None:
        numbers = np.repeat(numbers, np.fromiter(weights, np.int64))
    return {name: int(value) for name, value in zip(QUANTILES, np.quantile(numbers, list(QUANTILES.values()), method="lower"), strict=True)}


def as_dict(check: SplitCheck) -> dict[str, Any]:
    """For JSON."""
    values = dict(vars(check))
    values["canvases"] = [vars(canvas) for canvas in check.canvases]
    values["examples"] = {reason: [vars(one) for one in own] for reason, own in check.examples.items()}
    return values
