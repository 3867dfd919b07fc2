"""What the question alone is worth: the floor under every accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd


def question_only(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Accuracy, by task, of the best answer that ignores the picture: a question's most frequent answer, or its task's.

    Learned from the training items and tried on the test items, and learned from either half of the training items and tried on the
    other: a few hundred test items of a task alone would be right 2 % too often by mere luck.
    """
    even = np.arange(len(train)) % 2 == 0
    tried = [(train, test.drop_duplicates("item_id")), (train[even], train[~even]), (train[~even], train[even])]
    hits = pd.concat([_guessed(known, asked) for known, asked in tried])
    return {f"question_only/{task}": float(share) for task, share in hits.groupby("task")["right"].mean().items()}


def _guessed(known: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """Which items of `asked` (task, right) are answered by what is most frequent in `known`."""
    usual, fallback = (known.groupby(column)["answer"].agg(lambda answers: answers.mode().iloc[0]) for column in ("question", "task"))
    guess = asked["question"].map(usual).fillna(asked["task"].map(fallback))
    return pd.DataFrame({"task": asked["task"], "right": guess == asked["answer"]})
