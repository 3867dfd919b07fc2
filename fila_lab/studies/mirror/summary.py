"""What a study's parent run shows of its cells together: mean and interval over seeds of every metric and arm, and the data used."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fila_lab.studies.mirror.runs import safe_name

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

CONFIDENCE = 0.95
MOST = 5000
"""Arms x metrics; of larger studies the parent shows the study's own metric alone."""
DIGEST_LENGTH = 36
"""What MLflow takes of a dataset's digest."""


class ArmMean(NamedTuple):
    """A metric of an arm over its seeds; low and high: Student-t interval, None for one seed."""

    arm: str
    metric: str
    seeds: int
    mean: float
    low: float | None
    high: float | None


def arm_means(cells: Iterable[tuple[str, Mapping[str, float | None]]], metric: str) -> list[ArmMean]:
    """Of (arm, metrics) of cells, by arm and metric in the order in which they come. metric: the study's own."""
    values: dict[str, dict[str, list[float]]] = {}
    for arm, measured in cells:
        found = values.setdefault(arm, {})
        for name, value in measured.items():
            if value is not None and math.isfinite(value):
                found.setdefault(name, []).append(value)
    if sum(map(len, values.values())) > MOST:
        values = {arm: {metric: found[metric]} for arm, found in values.items() if metric in found}
    return [_mean(arm, name, of_seeds) for arm, found in values.items() for name, of_seeds in found.items()]


def _mean(arm: str, metric: str, values: list[float]) -> ArmMean:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return ArmMean(arm, metric, len(values), mean, None, None)
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(values) / math.sqrt(len(values))
    return ArmMean(arm, metric, len(values), mean, mean - reach, mean + reach)


def as_metrics(means: Iterable[ArmMean]) -> dict[str, float]:
    """`<metric>/<arm>/mean`, `low`, `high` and `seeds`."""
    found: dict[str, float] = {}
    for each in means:
        parts = {"mean": each.mean, "low": each.low, "high": each.high, "seeds": float(each.seeds)}
        found |= {safe_name(f"{each.metric}/{each.arm}/{part}"): value for part, value in parts.items() if value is not None}
    return found


def as_table(means: Iterable[ArmMean]) -> str:
    """The same as CSV, which MLflow shows as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(ArmMean._fields)
    table.writerows(["" if value is None else value for value in each] for each in means)
    return text.getvalue()


class DataUsed(NamedTuple):
    """One pool of a cell: suites and split, or suite and test; what it was used for; the hash of its content."""

    name: str
    context: str
    digest: str


def data_used(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> set[DataUsed]:
    """What a cell was trained, validated and tested on, as its manifest has it."""
    hashes, data = manifest.get("data_hash"), config.get("data") or {}
    if not isinstance(hashes, Mapping):
        return set()
    train, tests = _suites(data.get("train")), data.get("evaluate") or {}
    known = {"train": ("train", train), "val": ("validation", _suites(data.get("validate")) or train)}
    known |= {name: ("test", _suites([suite])) for name, suite in tests.items()}
    found = set()
    for pool, digest in hashes.items():
        context, suites = known.get(pool, (pool, train))
        split = "test" if pool == suites else pool  # a test is called by its suite unless it has a name of its own
        found.add(DataUsed(f"{suites}/{split}" if suites else split, context, str(digest)[:DIGEST_LENGTH]))
    return found


def _suites(entries: Any) -> str:
    found = entries if isinstance(entries, list | tuple) else [entries]
    return "+".join(dict.fromkeys(str(entry["suite"]) for entry in found if isinstance(entry, Mapping) and "suite" in entry))


def as_input(used: DataUsed) -> DatasetInput:
    """For MLflow's list of a run's datasets."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"suite": used.name, "sha256": used.digest})
    dataset = Dataset(name=used.name, digest=used.digest, source_type="fila_lab", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", used.context)])
