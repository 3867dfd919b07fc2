"""The names of a cell's metrics, torch-free: which of them a run's data can give, and what their unit is. The one place that reads them.

A name is `<kind>/<task>`; where the kind is a score (config.score_names), also `<score>/<task>/<place>`. In place of a task, `exact/mean`
is the mean over tasks, `exact/fine` that over the seam suite's tasks with fine detail (config.data.FINE_TASKS). Tests hold the names equal
to what `fila_lab.evaluation` computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.data import FINE_TASKS, FURTHER_PLACES, SEAM_TASKS, SHIFTS, SeamConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.score_names import SCORES, score_names
from fila_lab.config.suites import SEAM, SuiteConfig

NOTHING: Mapping[str, str] = MappingProxyType({})

ACCURACY = "exact"
MEAN = "exact/mean"
AVERAGES = ("mean", "fine")
"""What stands for several tasks in place of one."""
BY_TRIPLET = ("seam_gap", "sham_gap", "fragmentation", "fragmentation_reverse")
"""Kinds that compare an item's three places, so only the test pool has them."""
SHIFTED = ("shift_gap", "shift_error")
BESIDE = ("cross_gap", *SHIFTED)
"""Kinds that compare an item's further places with its sham place."""
BLIND = "question_only"
"""What the best answer from the question alone gets right: of the test pool only."""
COUNT = "n"


class Metric(NamedTuple):
    """A metric's name taken apart; what it does not say is empty."""

    kind: str
    task: str
    place: str


def parse_metric(name: str) -> Metric:
    """`exact/reading/cut` -> (exact, reading, cut). What is no metric is taken apart too: `check_metric` refuses it."""
    kind, task, place = (*name.split("/", 2), "", "")[:3]
    return Metric(kind, task, place)


def averaged(name: str, tasks: Iterable[str]) -> list[str]:
    """Which of these tasks an average is over; none where `name` is no average."""
    if name == "mean":
        return list(tasks)
    return [task for task in tasks if task in FINE_TASKS] if name == "fine" else []


def is_score(kind: str) -> bool:
    """Whether a metric's kind is a score of single items."""
    return kind in SCORES or kind in score_names()


def task_scores(config: RunConfig, validation: bool = False, further: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Task -> the score it is judged by."""
    return {**dict.fromkeys(tasks_of(config, validation), ACCURACY), **further}


def tasks_of(config: RunConfig, validation: bool = False) -> tuple[str, ...]:
    """The seam suite's tasks with a share, where tests (or validation rows) are drawn from it."""
    data = config.data
    validate: Sequence[SuiteConfig] = data.validate or data.train
    if SEAM not in [suite.suite for suite in (validate if validation else data.evaluate.values())]:
        return ()
    return tuple(name for name, share in data.seam.tasks.items() if share > 0)


def metric_names(config: RunConfig, validation: bool = False, further: Mapping[str, str] = NOTHING) -> tuple[str, ...]:
    """Every metric a cell of this run reports: on what it is tested on, or (`validation`) on validation items, which have one place each.

    further: the tasks of other suites than the seam suite, which are known once these are opened -> the score of each.
    """
    seam = config.data.seam
    places = tuple(place for place in seam.test_places if place in seam.places) if validation else seam.test_places
    tasks = tasks_of(config, validation)
    names = [MEAN] if tasks or ACCURACY in further.values() else []
    names += [f"{MEAN}/{place}" for place in places if tasks]
    if averaged("fine", tasks):
        names += [f"{ACCURACY}/fine", *(f"{ACCURACY}/fine/{place}" for place in places)]
    for task in tasks:
        names += [f"{ACCURACY}/{task}", *(f"{ACCURACY}/{task}/{place}" for place in places), f"{COUNT}/{task}"]
        if not validation:
            names += [f"{kind}/{task}" for kind in (*BY_TRIPLET, *_beside(seam), BLIND)]
    for task, score in further.items():
        names += [f"{score}/{task}", f"{COUNT}/{task}"]
    return tuple(names)


def _beside(seam: SeamConfig) -> list[str]:
    """The kinds that a suite's further places give."""
    return list(dict.fromkeys(kind for place in seam.further_places for kind in _kinds(place)))


def _kinds(place: str) -> tuple[str, ...]:
    """The kinds that come of one further place."""
    return SHIFTED if place in SHIFTS else ("cross_gap",)


def is_share(name: str) -> bool:
    """Whether a metric is a share of items, or a difference of two: its unit is 1 for all of them, and reports print points."""
    kind = parse_metric(name).kind
    return kind in (BLIND, *BY_TRIPLET, *BESIDE) or is_score(kind)


def check_metric(field: str, name: str, config: RunConfig, validation: bool = False, further: Mapping[str, str] = NOTHING) -> None:
    """Refuse a metric that is none, counts items, or that this run's data cannot give.

    Raises:
        ConfigError: with what would do.
    """
    known = metric_names(config, validation, further)
    if name in known and parse_metric(name).kind != COUNT:
        return
    raise ConfigError(f"{field} = {name!r} {_why_not(name, config, validation, known, further)}")


def check_margin(margin: float, metrics: Sequence[str]) -> None:
    """Refuse a margin that is no share where one of the metrics is.

    Raises:
        ConfigError: with the share that was probably meant.
    """
    shares = [name for name in metrics if is_share(name)]
    if shares and margin >= 1:
        meant = f"for {margin:g} points write margin: {margin / 100:g}" if margin < 100 else "give a share, e.g. 0.02 for 2 points"
        raise ConfigError(f"margin = {margin:g} is no share, but {shares[0]} is one, between 0 and 1; {meant}")


def _why_not(name: str, config: RunConfig, validation: bool, known: Sequence[str], further: Mapping[str, str]) -> str:
    """The rest of the message: what is wrong with the name, and what would do."""
    kind, task, place = parse_metric(name)
    scores = task_scores(config, validation, further)
    tasks = tuple(scores)
    usable = [other for other in known if parse_metric(other).kind != COUNT]
    if kind == COUNT and task in tasks and not place:
        return f"counts items and judges no arm; name one of what arms are good at, e.g. {ACCURACY}/{task}"
    if task in tasks and kind != scores[task] and is_score(kind):
        return f"asks for another score than {task} is judged by; give {'/'.join((scores[task], task, *([place] if place else [])))}"
    if task in SEAM_TASKS and task not in tasks and (kind in (BLIND, *BY_TRIPLET, *BESIDE) or is_score(kind)):
        return f"is of a task that data.seam.tasks does not draw; choose one of {', '.join(tasks)}, or give {task} a share there"
    if task in tasks and (wanted := [one for one in FURTHER_PLACES if one == place or kind in _kinds(one)]):
        missing = next((one for one in wanted if one not in config.data.seam.further_places), None)
        if missing is not None:
            return f"is of places that test items do not have; add {missing} to data.seam.further_places"
    if validation and name in metric_names(config):
        if place:
            stand = f"validation items stand at data.seam.places = {list(config.data.seam.places)}"
            return f"is the metric of a search, but {stand}; add {place!r} there"
        remedy = f"tune by {ACCURACY}/{task}, or without tuning (tune: false)"
        return f"is the metric of a search, but only the test pool has it, and a search looks at validation items; {remedy}"
    grammar = [f"{score}/{other}" for other, score in further.items()]
    if own := tasks_of(config, validation):
        kinds = () if validation else (*BY_TRIPLET, *_beside(config.data.seam), BLIND)
        places = [place for place in config.data.seam.test_places if f"{ACCURACY}/{own[0]}/{place}" in known]
        grammar.append(
            ", ".join([f"{ACCURACY}/TASK[/{'|'.join(places)}]", *(f"{kind}/TASK" for kind in kinds)])
            + f" with TASK one of {', '.join((*own, *AVERAGES))}"
        )
    return f"is no metric{did_you_mean(name, usable)}; give {', '.join([*([MEAN] if MEAN in known else []), *grammar])}"
