"""The report's tables: each once as numbers (CSV) and once as text (HTML, Markdown, LaTeX)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fila_lab.analysis import frame as frames
from fila_lab.analysis.bootstrap import FEW_CLUSTERS
from fila_lab.analysis.contrasts import paired, sides
from fila_lab.analysis.escape import Raw, latex_text, markdown_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.searched import shown as value_text
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.style import bounds, number, quantity, rows_of, scale_of, with_bounds, with_half
from fila_lab.analysis.verdicts import p_text, said
from fila_lab.config.data import FURTHER_PLACES, PLACES
from fila_lab.config.metrics import BESIDE, BY_TRIPLET
from fila_lab.config.score_names import SCORES

OTHER_SCORES = set(SCORES) - {"exact"}
"""Scores of benchmarks and files; tasks judged by `exact` are known by their places."""


@dataclass(frozen=True)
class Table:
    """`data`: numbers in the metric's units; `shown`: the same as text, shares in percent; the caption says what it was measured on."""

    name: str
    caption: str
    data: pd.DataFrame
    shown: pd.DataFrame

    def markdown(self) -> Raw:
        head = [markdown_text(column) for column in self.shown.columns]
        rows = [[markdown_text(value) for value in row] for row in self.shown.itertuples(index=False)]
        return Raw("\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)))

    def csv(self, preset: str) -> str:
        """The numbers, with the preset in the first column."""
        text: str = self.data.assign(preset=preset)[["preset", *self.data.columns]].to_csv(index=False)
        return text

    def write(self, folder: Path, preset: str) -> None:
        """`<name>.csv` and `<name>.tex` (booktabs)."""
        (folder / f"{self.name}.csv").write_text(self.csv(preset), encoding="utf-8", newline="")
        shown = self.shown.astype(object).map(latex_text).set_axis([latex_text(column) for column in self.shown.columns], axis=1)
        text = shown.to_latex(index=False, escape=False, caption=latex_text(self.caption), label=f"tab:{self.name}")
        (folder / f"{self.name}.tex").write_text(text, encoding="utf-8")


def arms_table(findings: Findings | StudyFolder | Path | str) -> pd.DataFrame:
    """One row per arm, numbers: seeds, failed; per task and place mean and 95 % t half-width; gaps, fragmentation; costs.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> arms_table(found)[["arm", "role", "failed"]].values.tolist()
        [['none', 'baseline', 0], ['concat', 'fusion', 0]]
    """
    found = findings if isinstance(findings, Findings) else Findings.of(findings)
    failed = frames.failures(found.folder).query("phase == 'main'").groupby("arm").size()
    rows = []
    for arm in found.folder.arms:
        own = found.frame[found.frame["arm"] == arm]
        row: dict[str, object] = {
            "arm": arm,
            "role": found.folder.study.arms[arm].role,
            "seeds": len(own),
            "failed": int(failed.get(arm, 0)),
        }
        for metric in _metrics(found):
            interval = paired_interval(own[metric].dropna())
            row |= {metric: interval.mean, f"{metric} half": interval.half}
        rows.append(row | {name: found.costs.at[arm, name] for name in found.costs.columns})
    return pd.DataFrame(rows)


def per_seed_table(findings: Findings | StudyFolder | Path | str) -> pd.DataFrame:
    """Primary metric, one row per seed, one column per arm.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> per_seed_table(found).columns.tolist()
        ['seed', 'none', 'concat']
    """
    found = findings if isinstance(findings, Findings) else Findings.of(findings)
    wide = found.frame.pivot(index="seed", columns="arm", values=found.metric)
    return wide[[arm for arm in found.folder.arms if arm in wide]].rename_axis(columns=None).reset_index()


def all_tables(findings: Findings) -> dict[str, Table]:
    makers = (_verdicts, _arms, _matches, _gaps, _secondary, _per_seed, _tuning, _failures)
    tables = [make(findings) for make in makers]
    return {table.name: table for table in tables if not table.shown.empty}


def _metrics(findings: Findings) -> list[str]:
    names = []
    for task in findings.tasks:
        names += [f"exact/{task}", *(f"exact/{task}/{place}" for place in (*PLACES, *FURTHER_PLACES))]
        names += [f"{kind}/{task}" for kind in (*BY_TRIPLET, *BESIDE)]
    names += [name for name in map(str, findings.frame) if name.count("/") == 1 and name.partition("/")[0] in OTHER_SCORES]
    return [name for name in dict.fromkeys([findings.metric, *names]) if name in findings.frame]


def _verdicts(findings: Findings) -> Table:
    data, scale = findings.verdicts, scale_of(findings.metric)
    rows = []
    for r in rows_of(data):
        rows.append(
            {
                "family": r.family,
                "A − B": f"{r.a} − {r.b}",
                "seeds": str(r.n),
                "A": number(r.mean_a * scale),
                "B": number(r.mean_b * scale),
                "difference [95 %]": with_bounds(r.difference * scale, r.low * scale, r.high * scale),
                "[90 %]": bounds(r.low90 * scale, r.high90 * scale),
                "new items [95 %]": bounds(r.items_low * scale, r.items_high * scale),
                "p": p_text(r.p),
                "Holm p": p_text(r.p_holm),
                "over study": p_text(r.p_holm_study),
                "TOST": p_text(r.p_tost_holm),
                "P(A > B)": number(r.p_greater, 2),
                "verdict": r.verdict,
                "size": r.size,
                "mark": r.mark,
                "detectable": number(r.mde * scale),
                "near floor or ceiling": _on_logits(r) if r.flag else "",
            }
        )
    caption = f"Contrasts on {findings.metric}, percent and points, paired by seed; margin {number(findings.folder.study.margin * scale)}; "
    caption += "new items = 95 % when other images of the same kind are drawn as well as other seeds; p of the exact sign-flip test, with "
    caption += "Holm's correction within the family and over the study; TOST = p of equivalence within the margin, Holm within the family; "
    caption += f"detectable = smallest effect found with 80 % power by the test that is used. {findings.measured_on}"
    shown = pd.DataFrame(rows)
    sparse = ("size", "mark", "near floor or ceiling", "new items [95 %]")
    empty = [name for name in sparse if rows and not shown[name].str.strip("–").any()]
    return Table("verdicts", caption, data, shown.drop(columns=empty))


def _on_logits(row: Any) -> str:
    logits = with_bounds(row.logit_difference, row.logit_low, row.logit_high, 2)
    return f"{row.flag}: logit {logits}, margin {number(row.logit_margin, 2)}"


def _arms(findings: Findings) -> Table:
    data = arms_table(findings)
    rows = []
    for r in data.to_dict("records"):
        role = {"control": " (control)", "capacity": " (second baseline)"}.get(r["role"], "")
        row = {
            "arm": findings.folder.label(r["arm"]) + role,
            "seeds": f"{r['seeds']}" + (f" (+{r['failed']} failed)" if r["failed"] else ""),
        }
        kinds = {} if findings.metric in {f"exact/{task}" for task in findings.tasks} else {findings.metric: findings.metric}
        for task in findings.tasks[:1]:
            kinds |= {task: f"exact/{task}", **{place: f"exact/{task}/{place}" for place in PLACES}}
            kinds |= {"seam gap": f"seam_gap/{task}", "sham gap": f"sham_gap/{task}", "fragm.": f"fragmentation/{task}"}
            kinds |= {"reverse": f"fragmentation_reverse/{task}"}
        kinds |= {task: f"exact/{task}" for task in findings.tasks[1:]}
        row |= {title: _cell(r, name) for title, name in kinds.items() if name in r}
        row |= {"params": quantity(r["parameters"]), "FLOPs": quantity(r["flops"])}
        row |= {"ms": with_half(r["latency_ms"], r["latency_iqr_ms"] / 2), "MiB": number(r["peak_memory_mib"], 0)}
        rows.append(row)
    whose = findings.tasks[0] if findings.tasks else "no task"
    caption = (
        f"Percent, mean ± half of the 95 % t interval over seeds; places, gaps and errors are those of {whose}; fragm. = right at the "
    )
    caption += "sham place, wrong when cut, over triplets, reverse = the opposite; "
    costs = "parameters; on the largest canvas FLOPs of one forward pass of the whole model, "
    costs += "latency median ± half the interquartile range, peak memory"
    shown = pd.DataFrame(rows)
    unknown = [name for name in ("params", "FLOPs", "ms", "MiB") if rows and shown[name].eq("–").all()]
    caption += f"{costs if len(unknown) < 4 else 'what arms cost is not measured yet'}. {findings.measured_on}"
    return Table("arms", caption, data, shown.drop(columns=unknown))


def _matches(findings: Findings) -> Table:
    """How near the matched arms came to their targets."""
    data, rows = [], []
    for arm, match in findings.folder.matches.items():
        data.append({"arm": arm, **match})
        row = {"arm": findings.folder.label(arm), "matched in": match["quantity"], "to": match["target"]}
        row |= {"solved": f"{match['path']} = {match['value']}", "wanted": quantity(match["wanted"]), "reached": quantity(match["reached"])}
        rows.append(row | {"off, whole model": f"{match['off_whole']:+.2%}", "off, part": f"{match['off_part']:+.2%}"})
    caption = "Matched arms, in closed form: parameters, or FLOPs of one page and its question, of the whole model; part = what the "
    caption += f"solved field has to fill. {findings.measured_on}"
    return Table("matches", caption, pd.DataFrame(data), pd.DataFrame(rows))


def _gaps(findings: Findings) -> Table:
    data, rows = [], []
    keys = [(arm, task, kind) for task in findings.tasks for kind in ("seam", "sham") for arm in findings.folder.arms]
    for arm, task, kind in [key for key in keys if key in findings.gaps]:
        gap = findings.gaps[arm, task, kind]
        metric = f"{kind}_gap/{task}"
        seeds = findings.frame.loc[findings.frame["arm"] == arm]
        over = paired_interval(seeds[metric].dropna() if metric in seeds else [])
        record = {"task": task, "gap": kind, "arm": arm, "mean": gap.gap, "seeds_low": over.low, "seeds_high": over.high}
        data.append(record | {"images_low": gap.low, "images_high": gap.high, "triplets": gap.triplets, "images": gap.images})
        shown = {"task": task, "gap": kind, "arm": findings.folder.label(arm), "points": number(gap.gap * 100, sign=True)}
        shown["over seeds"] = f"[{number(over.low * 100)}, {number(over.high * 100)}]"
        shown["over test images"] = f"[{number(gap.low * 100)}, {number(gap.high * 100)}]"
        rows.append(shown | {"triplets": str(gap.triplets), "images": f"{gap.images}" + (" (few)" if gap.images < FEW_CLUSTERS else "")})
    caption = (
        "Seam gap (sham − cut) and sham gap (intact − sham), all seeds pooled; 95 % t interval over seeds, 95 % bootstrap interval over "
    )
    caption += f"test images with seeds fixed (few: below {FEW_CLUSTERS} images it is too narrow). {findings.measured_on}"
    return Table("gaps", caption, pd.DataFrame(data), pd.DataFrame(rows))


def _secondary(findings: Findings) -> Table:
    """Differences of other metrics over the declared contrasts: estimates without p or verdict, as nothing was declared about them."""
    names = [name for name in _metrics(findings) if name != findings.metric and not name.startswith("fragmentation_reverse")]
    data, rows = [], []
    present = set(findings.frame["arm"])
    declared = [arms for family in findings.folder.study.families.values() for arms in family.comparisons if set(arms) <= present]
    for arms in dict.fromkeys(declared) if names else ():
        a, b = sides(arms)
        row = {"A − B": f"{a} − {b}"}
        for name in names:
            first, second = paired(findings.frame.pivot(index="seed", columns="arm", values=name), arms)
            interval = paired_interval(first - second)
            data.append(
                {
                    "a": a,
                    "b": b,
                    "metric": name,
                    "n": interval.n,
                    "difference": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
            if name.count("/") == 1 or name.endswith("/cut"):
                shorter = name.removeprefix("exact/").replace("_gap/", " gap, ").replace("fragmentation/", "fragm., ").replace("/", " ")
                row[shorter] = with_bounds(interval.mean * 100, interval.low * 100, interval.high * 100)
        rows.append(row)
    caption = f"Secondary differences in points [95 % t]: estimates, not tested and not declared. {findings.measured_on}"
    return Table("secondary", caption, pd.DataFrame(data), pd.DataFrame(rows))


def _per_seed(findings: Findings) -> Table:
    data, scale = per_seed_table(findings), scale_of(findings.metric)
    shown = data.copy().astype(object)
    for arm in data.columns[1:]:
        shown[arm] = [number(value * scale) for value in data[arm]]
    shown["seed"] = data["seed"].astype(str)
    return Table(
        "per_seed",
        f"{findings.metric}{', percent,' if scale == 100 else ''} by seed. {findings.measured_on}",
        data,
        shown.rename(columns={arm: findings.folder.label(str(arm)) for arm in data.columns[1:]}),
    )


def _tuning(findings: Findings) -> Table:
    data = frames.load_tuning(findings.folder)
    rows = []
    for r in data.to_dict("records"):
        searched = {
            path: value_text(r[path]) for path in (findings.folder.study.tuning.space if findings.folder.study.tuning else ()) if path in r
        }
        row = {"arm": r["arm"], "trial": str(r.get("trial", "")), **searched, "validation": number(r["value"] * scale_of(findings.metric))}
        rows.append(
            row | {"winner": "winner" if r["winner"] else "", "flag": r["edge"] or ("failed" if r.get("status") == "failed" else "")}
        )
    caption = f"Tuning trials; validation = {findings.metric} on validation items. {findings.measured_on}"
    return Table("tuning", caption, data, pd.DataFrame(rows))


def _failures(findings: Findings) -> Table:
    data = frames.failures(findings.folder)
    return Table(
        "failures", "Cells that failed, with their cause; none was dropped silently.", data, data.drop(columns="trial").astype(str)
    )


def _cell(row: Mapping[Any, Any], metric: str) -> str:
    return with_half(row[metric] * scale_of(metric), row[f"{metric} half"] * scale_of(metric))


def published_table(findings: Findings, published: Findings) -> pd.DataFrame:
    """Declared contrasts, fresh beside committed: difference, interval and verdict of each.

    A contrast is the same whatever its family is called; where it stands in several, that of the same name comes first.
    """
    keys = ["a", "b", "metric"]
    own = findings.verdicts.drop_duplicates(["family", *keys])
    same = published.verdicts[["family", *keys]].merge(own, on=["family", *keys], how="left")
    other = published.verdicts[keys].merge(own.drop_duplicates(keys), on=keys, how="left")
    ours = same.where(same["n"].notna(), other.reindex(columns=same.columns))
    both = published.verdicts.reset_index(drop=True).join(ours, lsuffix="_published", rsuffix="_here")
    scale = scale_of(findings.metric)
    rows = []
    for r in rows_of(both):
        here = "not run here" if r.n_here != r.n_here else with_bounds(r.difference_here * scale, r.low_here * scale, r.high_here * scale)
        committed = with_bounds(r.difference_published * scale, r.low_published * scale, r.high_published * scale)
        fresh = "" if r.n_here != r.n_here else said(r.verdict_here, r.size_here, r.mark_here)
        row = {"A − B": f"{r.a_published} − {r.b_published}", "fresh [95 %]": here, "fresh verdict": fresh, "published [95 %]": committed}
        theirs = said(r.verdict_published, r.size_published, r.mark_published)
        rows.append(row | {"seeds": str(r.n_published), "published verdict": theirs})
    return pd.DataFrame(rows)
