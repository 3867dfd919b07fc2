"""Triplets whose answers flip between arms or places, and some drawn at random: with page pictures where there are some."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fila_lab.analysis.folder import StudyFolder
from fila_lab.config.data import PLACES
from fila_lab.config.flips import drawn_at_random, most_divided, shares_right
from fila_lab.config.json_files import read_json


@dataclass(frozen=True)
class Answer:
    """One arm at one place: its most frequent answer over seeds and at how many seeds it was right."""

    text: str
    right: int
    seeds: int

    @property
    def mark(self) -> str:
        return "right" if 2 * self.right > self.seeds else "wrong"


@dataclass(frozen=True)
class Flip:
    """A triplet with every arm's answers; pictures are data URIs by place, empty without a gallery folder."""

    item_id: str
    question: str
    answer: str
    cut_fraction: float
    pictures: dict[str, str]
    answers: dict[str, dict[str, Answer]]

    @property
    def flips(self) -> int:
        """Arms that are mostly right at one place and mostly wrong at another."""
        return sum(len({answer.mark for answer in places.values()}) > 1 for places in self.answers.values())


def load_flips(folder: StudyFolder, predictions: pd.DataFrame | None, gallery: Path | None = None) -> list[Flip]:
    """The triplets with most flips, of those with pictures where the gallery (None: OUT/gallery) has some; at most SHOWN."""
    if predictions is None:
        return []
    gallery = gallery or folder.out / "gallery"
    entries = _entries(gallery)
    chosen = predictions[predictions["item_id"].isin(entries)] if entries else predictions
    best = most_divided(shares_right(chosen))
    flips = [_flip(item, entries.get(item), chosen[chosen["item_id"] == item], folder, gallery) for item in best]
    return [flip for flip in flips if flip.flips or len({a.mark for p in flip.answers.values() for a in p.values()}) > 1]


def load_sample(folder: StudyFolder, predictions: pd.DataFrame | None, gallery: Path | None = None) -> list[Flip]:
    """Triplets drawn at random from all that have places, whatever was answered; pictures as in `load_flips`."""
    if predictions is None:
        return []
    gallery = gallery or folder.out / "gallery"
    entries = _entries(gallery)
    placed = predictions[predictions["place"].isin(PLACES)]
    drawn = drawn_at_random(placed["item_id"].unique())
    return [_flip(item, entries.get(item), placed[placed["item_id"] == item], folder, gallery) for item in drawn]


def flips_table(folder: StudyFolder, flips: list[Flip]) -> pd.DataFrame:
    """Text form: one row per triplet, per arm right seeds of all seeds at cut / sham / intact."""
    rows = []
    for flip in flips:
        row = {"item": flip.item_id, "question": flip.question, "answer": flip.answer}
        for arm, places in flip.answers.items():
            row[folder.label(arm)] = " / ".join(f"{places[p].right}" if p in places else "–" for p in PLACES)
        rows.append(row)
    return pd.DataFrame(rows)


def answers_of(rows: pd.DataFrame, arms: Sequence[str], places: Sequence[str]) -> dict[str, dict[str, Answer]]:
    """Arm -> place -> what it answered; of those that did. rows: predictions of one item."""
    answers: dict[str, dict[str, Answer]] = {}
    for arm in arms:
        for place in places:
            own = rows[(rows["arm"] == arm) & (rows["place"] == place)]
            if len(own):
                text = str(own["prediction"].mode().iloc[0])
                answers.setdefault(arm, {})[place] = Answer(text, int(own["correct"].sum()), len(own))
    return answers


def _flip(item: str, entry: dict[str, Any] | None, rows: pd.DataFrame, folder: StudyFolder, gallery: Path) -> Flip:
    answers = answers_of(rows, folder.arms, PLACES)
    first = rows.iloc[0]
    cut = rows.loc[rows["place"] == "cut", "cut_fraction"] if "cut_fraction" in rows else pd.Series(dtype=float)
    fraction = float(entry["cut_fraction"]) if entry else float(cut.max()) if len(cut) else float("nan")
    pictures = _pictures(gallery, entry) if entry else {}
    return Flip(item, str(first.get("question", "")), str(first.get("answer", "")), fraction, pictures, answers)


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    """gallery.json by item id; empty when missing or unreadable, as pictures are an extra."""
    try:
        listed = read_json(folder / "gallery.json")
        return {str(entry["item_id"]): entry for entry in listed if entry.get("images")}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _pictures(folder: Path, entry: dict[str, Any]) -> dict[str, str]:
    found = {}
    for place in PLACES:
        path = folder / str(entry["images"].get(place, ""))
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            found[place] = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return found
