"""How often are verdicts wrong? Families of contrasts with a known truth and the noise of a published study, judged by the laboratory's own
rules. `python -m benchmarks.verdicts` (`make simulate`) writes docs/explanation/verdicts_simulation.md."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from fila_lab.analysis import load_predictions, load_study_frame
from fila_lab.analysis.contrasts import CEILING, logit_margin
from fila_lab.analysis.new_items import NewItems
from fila_lab.analysis.statistics import logit
from fila_lab.analysis.verdicts import BEYOND, WITHIN, contrasts_of, judge_family

STUDY = Path(__file__).parents[1] / "experiments" / "results" / "fusion_methods"
ARMS = ("none", "concat", "addition", "cross_attention")
METRIC = "exact/reading"
MARGIN = 0.02
LEVEL, HIGH = 0.55, 0.93
"""Accuracy of the lowest simulated arm: away from floor and ceiling, and above the ceiling, where the margin is in logits."""
DRAWS = 400
"""Two-way bootstrap draws a simulated family; reports take more."""
RATES = ("direction", "equivalent", "size", "unmarked direction", "unmarked equivalent", "unmarked size", "found")
Floats = NDArray[np.float64]
Sampler = Callable[[np.random.Generator, int], tuple[pd.DataFrame, NewItems | None]]


@dataclass(frozen=True)
class Condition:
    """n seeds, the family's contrasts, what is true of each arm (in margins), the noise, and whether images are drawn anew as well."""

    seeds: int
    arms: int
    truth: str
    noise: str = "normal"
    scale: float = 1.0
    images: bool = False
    pairwise: bool = True
    level: float = LEVEL

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"arm {i}" for i in range(self.arms))

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Every pair, or every arm against the first."""
        pairs = itertools.combinations(self.names, 2) if self.pairwise else ((self.names[0], other) for other in self.names[1:])
        return [(b, a) for a, b in pairs]

    @property
    def margins(self) -> dict[str, float]:
        """Arm -> how many margins it truly lies above the first. `step`: every other arm one (in a star: all others), `half`: half of one;
        `ladder`: arm i by i halves."""
        by = {"null": 0.0, "step": 1.0, "half": 0.5, "ladder": 0.5}[self.truth]
        return {name: by * float(i if self.truth == "ladder" else (i % 2 if self.pairwise else i > 0)) for i, name in enumerate(self.names)}

    @property
    def accuracies(self) -> Floats:
        """True accuracy [arms]."""
        above = np.array(list(self.margins.values()))
        if self.level < CEILING:
            return self.level + MARGIN * above
        return 1 / (1 + np.exp(-(logit(self.level) + logit_margin(MARGIN, below=False, above=True) * above)))


def conditions() -> Iterator[Condition]:
    """What the table has a row for."""
    for truth in ("null", "half", "step", "ladder"):
        for noise in ("normal", "heavy tails", "skewed"):
            yield Condition(8, 4, truth, noise)
    for truth, scale in itertools.product(("null", "half", "step"), (0.5, 2.0, 4.0)):
        yield Condition(8, 4, truth, scale=scale)
    for (seeds, arms), truth in itertools.product(((6, 2), (7, 3), (8, 5), (9, 13)), ("null", "step")):
        yield Condition(seeds, arms, truth, pairwise=False)
    for truth in ("null", "half", "step"):
        yield Condition(12, 4, truth)
        yield Condition(8, 4, truth, level=HIGH)
        yield Condition(8, 4, truth, images=True)


@dataclass(frozen=True)
class Noise:
    """What a published study measured: covariance over seeds of the arms' accuracies [4, 4], and right answers [4, 8, images] of items
    [images]."""

    covariance: Floats
    right: Floats
    items: Floats

    @staticmethod
    def measured() -> Noise:
        frame = load_study_frame(STUDY).pivot(index="seed", columns="arm", values=METRIC)[list(ARMS)]
        own = load_predictions(STUDY)
        own = own[own["arm"].isin(ARMS) & (own["task"] == "reading")]
        table = own.pivot_table(index=["arm", "seed"], columns="image_id", values="correct", aggfunc=["sum", "count"])
        sums, counts = table["sum"], table["count"]
        right = np.stack([sums.loc[arm].to_numpy(float) for arm in ARMS])
        return Noise(frame.cov().to_numpy(), right, counts.iloc[0].to_numpy(float))

    def over_seeds(self, condition: Condition, rng: np.random.Generator) -> Floats:
        """[arms, seeds], mean 0, covariance as measured times scale squared; more arms than four repeat the four's."""
        n = condition.seeds
        if condition.noise == "normal":
            unit = rng.standard_normal((condition.arms, n))
        elif condition.noise == "heavy tails":  # Student's t with 3 degrees of freedom
            unit = rng.standard_t(3, (condition.arms, n)) / 3**0.5
        else:
            unit = rng.exponential(1, (condition.arms, n)) - 1
        roots = np.linalg.cholesky(self.covariance)
        blocks = [roots @ np.resize(unit[at : at + 4], (4, n)) for at in range(0, condition.arms, 4)]
        return condition.scale * np.concatenate(blocks)[: condition.arms]

    def over_images(self, condition: Condition, rng: np.random.Generator, levels: Floats) -> NewItems:
        """A new test pool: images drawn with replacement, each seed with the answers of a seed drawn for each image, centred on `levels`
        [arms, seeds] over the population of images."""
        seeds, images = self.right.shape[1], len(self.items)
        at = rng.integers(0, images, images)
        chosen = rng.integers(0, seeds, (condition.seeds, images))
        mean = self.right.mean(axis=1, keepdims=True)
        # Answers about their mean over eight seeds vary by a seventh less than about the truth.
        spread = mean + (self.right - mean) * (seeds / (seeds - 1)) ** 0.5
        own = spread[:, chosen, at] - (mean.sum(axis=2) / self.items.sum())[:, :, None] * self.items[at]  # [arms, seeds, images]
        own = own + levels[:, :, None] * self.items[at]
        places = rng.integers(0, images, (DRAWS, images)) + images * np.arange(DRAWS)[:, None]
        weights = np.bincount(places.ravel(), minlength=DRAWS * images).reshape(DRAWS, images).astype(float)
        drawn = np.moveaxis(own @ weights.T, 2, 0) / (weights @ self.items[at])[:, None, None]
        names = tuple(condition.names)
        return NewItems(names, tuple(range(condition.seeds)), own.sum(axis=2) / self.items[at].sum(), drawn, images)


def wrong(condition: Condition, noise: Noise, rng: np.random.Generator) -> dict[str, bool]:
    """Draw one family, judge it, and say for each of RATES whether it happened in any of its contrasts.

    Where images are drawn anew the truth is that of all images: what a mark confines to the pool then claims nothing.
    """
    true = condition.margins
    levels = condition.accuracies[:, None] + noise.over_seeds(condition, rng)
    found = noise.over_images(condition, rng, levels) if condition.images else None
    values = pd.DataFrame((levels if found is None else found.observed).T, columns=list(condition.names))
    contrasts = contrasts_of(values, condition.comparisons, METRIC, MARGIN)
    happened = dict.fromkeys(RATES, False)
    for row in judge_family(contrasts, len(contrasts), found):
        difference = true[row["a"]] - true[row["b"]]
        reached, passed = abs(difference) > 1 - 1e-9, abs(difference) > 1 + 1e-9
        directed = row["verdict"] in ("better", "worse")
        sign = {"better": 1, "worse": -1}.get(row["verdict"], 0)
        errors = {
            "direction": directed and sign * difference < 1e-9,
            "equivalent": row["verdict"] == "equivalent" and reached,
            "size": (row["size"] == WITHIN and reached) or (row["size"] == BEYOND and not passed),
        }
        claimed = {"direction": "this pool only", "equivalent": "this pool only", "size": row["mark"]}
        for name, error in errors.items():
            happened[name] |= error
            happened[f"unmarked {name}"] |= error and not (row["mark"] and row["mark"] == claimed[name])
        happened["found"] |= directed and sign * difference > 1e-9
    return happened


def simulate(condition: Condition, families: int, noise: Noise, seed: int = 0) -> dict[str, float]:
    """Rate of each of RATES over drawn families."""
    rng = np.random.default_rng([seed, *f"{condition}".encode()])
    drawn = [wrong(condition, noise, rng) for _ in range(families)]
    return {name: float(np.mean([one[name] for one in drawn])) for name in RATES}


def page(rows: list[tuple[Condition, int, dict[str, float]]], seed: int, when: datetime.date) -> str:
    """The table as Markdown."""
    least = min(families for _, families, _ in rows)
    held, skewed = (_highest([row for row in rows if (row[0].noise == "skewed") is skew]) for skew in (False, True))
    spread = np.sqrt(np.diag(Noise.measured().covariance)) * 100
    text = [
        "# How often verdicts are wrong",
        "",
        "Families of contrasts with a known truth, judged by the rules of the reports (`fila_lab.analysis.verdicts`). A rate is the share",
        "of families with at least one such word among their contrasts, in percent; the rules are meant to hold each of the three below 5.",
        f"Highest rate: {100 * held:.1f} %; with skewed noise {100 * skewed:.1f} %. Of {least} families a rate of 5 % is known to ±",
        f"{100 * (0.05 * 0.95 / least) ** 0.5:.1f} (one standard error), and the highest of many such rates lies above its true value.",
        "The sign-flip test takes a paired difference to be as likely to lie above as below its mean by any amount: two arms whose noise",
        "is skewed to the same side by different amounts break that.",
        "",
        f"Noise: the covariance over seeds that `fusion_methods` measured for {', '.join(ARMS)} on {METRIC}",
        f"(standard deviations {', '.join(f'{own:.2f}' for own in spread)} points), times `noise x`; margin {100 * MARGIN:g} points.",
        "`heavy tails`: Student's t, 3 degrees of freedom; `skewed`: exponential. `pairs`: every pair of arms; `star`: every arm against",
        "the first. Truth: `null` no difference; `half`, `step`: every other arm (in a star: all others) half a margin or one margin",
        f"above; `ladder`: arm i by i halves. The lowest arm lies at {100 * LEVEL:g} %; in rows `at {100 * HIGH:g} %` it lies there, and",
        "margins are logits. In rows with `new images` the test pool too is drawn anew from the study's pages with their answers, and",
        "words are held against the truth over all pages: the rate is that of words without the mark that confines them to the pool; that",
        "of all words beside it.",
        "",
        "- better/worse: said although there is no difference or the opposite one",
        "- equivalent: said although the difference reaches the margin",
        "- size: `within the margin` although it reaches it, or `beyond the margin` although it does not pass it",
        "- found: at least one true difference called by its right name (no error: how much the rules still see)",
        "",
        "| seeds | contrasts | truth | noise | noise x | better/worse | equivalent | size | found | families |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for c, families, rate in rows:
        family = f"{len(c.comparisons)} ({'pairs' if c.pairwise else 'star'})"
        shown = [_shown(rate, name, c.images) for name in ("direction", "equivalent", "size")]
        kind = c.noise + (", new images" if c.images else "") + (f", at {100 * c.level:g} %" if c.level == HIGH else "")
        found = "–" if c.truth == "null" else f"{100 * rate['found']:.1f}"
        text.append(f"| {c.seeds} | {family} | {c.truth} | {kind} | {c.scale:g} | {' | '.join(shown)} | {found} | {families} |")
    text += ["", f"Made by `python -m benchmarks.verdicts --families {rows[0][1]} --seed {seed}` on {when.isoformat()}.", ""]
    return "\n".join(text)


def _highest(rows: list[tuple[Condition, int, dict[str, float]]]) -> float:
    kinds = ("direction", "equivalent", "size")
    return max(rate[f"unmarked {kind}" if condition.images else kind] for condition, _, rate in rows for kind in kinds)


def _shown(rate: dict[str, float], name: str, images: bool) -> str:
    return f"{100 * rate[f'unmarked {name}']:.1f} (all words {100 * rate[name]:.1f})" if images else f"{100 * rate[name]:.1f}"


def main(
    out: Annotated[Path, typer.Option(help="Markdown file to write")] = Path("docs/explanation/verdicts_simulation.md"),
    families: Annotated[int, typer.Option(help="families drawn a row", min=1)] = 1200,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
) -> None:
    """Simulate every condition and write the table."""
    noise, rows = Noise.measured(), []
    for condition in conditions():
        drawn = max(1, families // 4) if condition.images else families
        rows.append((condition, drawn, simulate(condition, drawn, noise, seed)))
        typer.echo(f"{condition}: " + ", ".join(f"{name} {100 * rate:.1f}" for name, rate in rows[-1][2].items()))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(rows, seed, datetime.date.today()), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
