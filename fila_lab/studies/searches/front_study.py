"""The front of a sweep as a study of its own: its points as arms, to be planned, changed and run on further seeds. Imports no torch."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, RunConfig, StudyConfig, schemas
from fila_lab.config.json_files import parse_json, read_json
from fila_lab.config.overrides import overlaid
from fila_lab.config.power import seeds_needed
from fila_lab.config.schemas import refuse_newer
from fila_lab.config.yaml_files import yaml_text
from fila_lab.studies.folder import read_plan
from fila_lab.studies.searches.trials import trial_name, with_trials
from fila_lab.studies.searches.trials_file import FOLDER, TRIALS

log = logging.getLogger("fila_lab")


def front_text(root: Path) -> str:
    """The study file of `front_study`, with what a reader needs to know of it.

    Raises:
        FilaError: the folder holds no front.
    """
    content = front_study(root)
    budget, chosen = next(iter(content["budgets"].items()))
    contrasts, seeds = sum(len(family["contrasts"]) for family in content["families"].values()), len(chosen["seeds"])
    about = [f"The points of the front in {root}{', each compared with the one before it' if contrasts else ''}."]
    if contrasts and (needed := seeds_needed(contrasts)) > seeds:
        many = "contrast" if contrasts == 1 else "contrasts"
        about.append(f"A verdict needs {needed} seeds for {contrasts} {many}; budget {budget} has the {seeds} that confirmed.")
    body = yaml_text(parse_json(json.dumps(content)), flat_lists=True, width=140, default_flow_style=None)
    return "".join(f"# {line}\n" for line in about) + body


def front_study(root: Path) -> dict[str, Any]:
    """The content of a study file whose arms are the points of a result folder's front, from the cheapest to the dearest where the last
    objective is a cost; each is compared with the one before it.

    Raises:
        FilaError: the folder holds no front.
    """
    plan = read_plan(root)
    if plan is None:
        raise FilaError(f"{root} holds no plan.json, so it is no study's result folder; give that of a study that sweeps")
    study = StudyConfig.model_validate(plan["study"])
    if study.sweep is None or not study.budgets[plan["budget"]].sweep:
        raise FilaError(f"{root}: budget {plan['budget']!r} of study {study.name!r} does not sweep; give the folder of one that does")
    front = _front(root)
    chosen = study.budgets[plan["budget"]]
    names = {trial_name(trial["number"]): dict(trial["parameters"]) for trial in front}
    arms = with_trials(study, study.sweep, names).arms
    order = list(names)
    pairs = [[dearer, cheaper] for cheaper, dearer in itertools.pairwise(order)]
    seeds = study.sweep.confirm.of(chosen.seeds) if study.sweep.confirm is not None else chosen.seeds
    return {
        "name": f"{study.name}_front",
        "question": f"How do the points of the front of {study.name} compare?",
        "preset": study.preset,
        **({"set": {**study.set}} if study.set else {}),
        "arms": {
            name: {"label": arms[name].label, "set": overlaid(arms[name].set, plan["overrides"], RunConfig)} | _match(arms[name].match)
            for name in order
        },
        "families": {"front": {"contrasts": pairs}} if pairs else {},
        "metric": study.metric,
        "margin": study.margin,
        "equalise": study.equalise,
        "budgets": {plan["budget"]: {"seeds": list(seeds)} | ({"set": {**chosen.set}} if chosen.set else {})},
    }


def _front(root: Path) -> list[dict[str, Any]]:
    """The trials of the front, the least in the last objective first; those so far while the search has not ended, which is said."""
    path = root / FOLDER / TRIALS
    try:
        found = read_json(path)
        schema, trials = found.get("schema"), {trial["number"]: trial for trial in found["trials"]}
        front = [trials[number] for number in found["front"]]
        values = {trial["number"]: tuple(map(float, trial["values"])) for trial in front}
        front.sort(key=lambda trial: (values[trial["number"]][-1], trial["number"]))
        told, most, complete = len(trials), found["search"]["trials"], found["complete"] is True
        reasons = [str(trial["reason"]) for trial in trials.values() if trial["reason"]]
    except FileNotFoundError:
        raise FilaError(f"{root}: its sweep has no complete trial yet; the same `fila-lab run` goes on") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = "sweep/trials.json cannot be read"
        raise FilaError(f"{root}: there is no front in it ({why}); run a budget of the study that sweeps") from error
    refuse_newer(path, schema, schemas.TRIALS)
    if not front and complete:
        why = f"the first for this reason: {reasons[0]}" if reasons else "which have no values"
        raise FilaError(
            f"{root}: its sweep has ended without a front, for none of its {told} trials is complete ({why}); mend that in the study"
        )
    if not front:
        raise FilaError(f"{root}: its sweep has no complete trial yet; the same `fila-lab run` goes on")
    if not complete:
        log.warning("%s: its sweep has not ended (%s of %s trials are told); this is the front so far", root, told, most)
    return front


def _match(match: Any) -> dict[str, Any]:
    return {} if match is None else {"match": match.model_dump(mode="json", exclude_none=True)}
