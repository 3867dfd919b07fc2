"""The question alone is worth what it gives away, and no more."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fila_lab.evaluation import question_only


def test_the_question_alone_is_worth_what_it_gives_away() -> None:
    draw = np.random.default_rng(0)

    def items(count: int, first: int) -> pd.DataFrame:
        colours = draw.choice(["red", "blue"], count)
        sides = draw.choice(["left", "right", "above", "below"], count)
        told = pd.DataFrame({"task": "told", "question": colours, "answer": [f"of {colour}" for colour in colours]})
        fair = pd.DataFrame({"task": "fair", "question": [f"where is {colour}?" for colour in colours], "answer": sides})
        frame = pd.concat([told, fair], ignore_index=True)
        return frame.assign(item_id=[f"{first + i}" for i in range(len(frame))])

    worth = question_only(items(2000, 0), items(200, 10000))
    assert worth["question_only/told"] == 1
    assert abs(worth["question_only/fair"] - 0.25) < 0.03
