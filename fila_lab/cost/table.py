"""What was counted and measured as one long table: a row for each component of each arm at each size in each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.config.counts import llm_tokens, tiles_of
from fila_lab.config.fusion_points import component_name
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import known_cost
from fila_lab.config.tiling import seen_canvases
from fila_lab.cost.closed.components import component_costs, component_training_flops
from fila_lab.cost.closed.fusion import fusion_point_costs
from fila_lab.cost.closed.parts import Cost, language_token_cost, text_tokens
from fila_lab.cost.count import Count
from fila_lab.cost.passes import HEAD, TOKEN_HEAD
from fila_lab.cost.probe import CONVNEXT, LANGUAGE, NEW_TOKEN, OTHER, PROJECTOR, VIT
from fila_lab.cost.session import Case, Language, Measured, language_name

ENCODER, WHOLE = "encoder", "whole"
"""Sums: ViT, ConvNeXt, fusion points and what lies between; the encoder, projector and prefill."""
NOTHING = Count(0, 0, 0, 0)
_UNKNOWN = Cost(math.nan, math.nan, math.nan, math.nan)
"""Of a fusion point that no closed form counts."""
Row = dict[str, Any]


def cost_table(state: Mapping[str, Measured]) -> pd.DataFrame:
    """The long table. latency_ms and latency_iqr_ms are an image's median and interquartile range over `rounds`; kept_bytes is what one
    image's training step keeps for its backward pass; peak_memory_mib is of a forward pass of one image, above weights and pixels.
    `latency_basis` and `memory_basis` say how a figure came about, or why there is none."""
    rows = [row for measured in state.values() for case in measured.cases.values() for row in _case_rows(case, measured)]
    return pd.DataFrame(rows)


def _case_rows(case: Case, measured: Measured) -> list[Row]:
    config, language = case.config, measured.languages[language_name(case.config)]
    counts, closed, training = {**case.counts, **language.counts}, closed_forms(config), training_forms(config)
    parts = [name for name in closed if name not in (LANGUAGE, NEW_TOKEN)]
    inside = [name for name in [*parts, OTHER] if name != PROJECTOR]
    rounds, reading = case.rounds, _language_rounds(language)
    whole = [sum(seen.values()) + read[LANGUAGE] for seen, read in zip(rounds, reading, strict=False)]
    seconds: dict[str, list[float]] = {
        **{name: [each[name] for each in rounds] for name in [*parts, OTHER]},
        ENCODER: [sum(each[name] for name in inside) for each in rounds],
        LANGUAGE: [each[LANGUAGE] for each in reading],
        NEW_TOKEN: [each[NEW_TOKEN] for each in reading],
        WHOLE: whole,
    }
    for name, members in ((ENCODER, inside), (WHOLE, [*inside, PROJECTOR, LANGUAGE])):
        counts[name] = _sum([counts.get(member, NOTHING) for member in members])
        closed[name] = sum((closed[member] for member in members if member in closed), Cost(0, 0))
        training[name] = sum(training[member] for member in members if member in training)
    order = [*(name for name in parts if name != PROJECTOR), OTHER, ENCODER, PROJECTOR, LANGUAGE, NEW_TOKEN, WHOLE]
    rows = []
    for name in order:
        count = counts.get(name, NOTHING)
        row: Row = {
            **_case_columns(case, measured),
            "component": name,
            "parameters": count.parameters,
            "trainable_parameters": count.trainable,
            "flops": count.flops,
            "closed_form_flops": closed[name].flops if name in closed else 0.0,
            "training_flops": training.get(name, math.nan if name == NEW_TOKEN else 0.0),
            "kept_bytes": math.nan if name == NEW_TOKEN else count.kept_bytes,
            **_latency(seconds[name]),
            "latency_basis": _latency_basis(name, case, language, len(seconds[name])),
            **_memory(name, inside, case, language),
            **_setting_columns(measured),
        }
        row["achieved_flops_per_second"] = count.flops / row["latency_ms"] * 1000 if row["latency_ms"] > 0 and count.flops else math.nan
        row["share_of_matmul_peak"] = row["achieved_flops_per_second"] / row["matmul_flops_per_second"]
        rows.append(row)
    return rows


def closed_forms(config: RunConfig) -> dict[str, Cost]:
    """Component -> cost in closed form, in the order in which they run."""
    canvas = seen_canvases(config)[0]
    costs = component_costs(config, canvas)
    known = known_cost(config.fusion)
    fusions = {component_name(*pair): cost if known else _UNKNOWN for pair, cost in fusion_point_costs(config, canvas).items()}
    tokens = llm_tokens(canvas, config) + text_tokens(config.language)
    return {
        **({VIT: costs["vit"]} if costs["vit"].parameters else {}),
        **({CONVNEXT: costs["convnext"]} if costs["convnext"].parameters else {}),
        **fusions,
        PROJECTOR: costs["projector"],
        LANGUAGE: costs["language"],
        NEW_TOKEN: language_token_cost(config.language, tokens),
    }


def training_forms(config: RunConfig) -> dict[str, float]:
    """Component -> FLOPs of a training item in closed form, features not cached."""
    canvas = seen_canvases(config)[0]
    trained = component_training_flops(config, canvas)
    costs = {pair: cost if known_cost(config.fusion) else _UNKNOWN for pair, cost in fusion_point_costs(config, canvas).items()}
    fusions = {component_name(*pair): cost.flops + cost.inputs + cost.weights for pair, cost in costs.items()}
    return {VIT: trained["vit"], CONVNEXT: trained["convnext"], **fusions, PROJECTOR: trained["projector"], LANGUAGE: trained["language"]}


def _language_rounds(language: Language) -> list[dict[str, float]]:
    """Prefill and new token of the whole model: what its measured layers took, as often as it has them, and the head."""
    scale = language.config.language.layers / language.layers
    return [
        {LANGUAGE: each[LANGUAGE] * scale + each[HEAD], NEW_TOKEN: each[NEW_TOKEN] * scale + each[TOKEN_HEAD]} for each in language.rounds
    ]


def _latency(seconds: list[float]) -> Row:
    low, median, high = np.percentile(seconds, [25, 50, 75]) * 1000 if seconds else (math.nan,) * 3
    return {"latency_ms": float(median), "latency_iqr_ms": float(high - low), "rounds": len(seconds)}


def _latency_basis(name: str, case: Case, language: Language, rounds: int) -> str:
    reads = name in (LANGUAGE, NEW_TOKEN, WHOLE)
    reason = case.reason if name not in (LANGUAGE, NEW_TOKEN) else None
    if reason or (reads and language.reason):
        return f"not measured: {reason or language.reason}"
    if not rounds:
        return "not measured: no rounds yet; the same command with --rounds N measures them"
    layers = language.config.language.layers
    return f"measured, language model as one layer x {layers}" if reads and language.layers < layers else "measured"


def _memory(name: str, inside: list[str], case: Case, language: Language) -> Row:
    """peak_memory_mib and memory_basis."""
    told = language.memory if name == LANGUAGE else case.memory
    if name == NEW_TOKEN:
        return {"peak_memory_mib": math.nan, "memory_basis": "not measured: a token adds its keys and values to the cache, little else"}
    if name == WHOLE and isinstance(case.memory, dict) and isinstance(language.memory, dict):
        return {"peak_memory_mib": max(*case.memory.values(), language.memory[LANGUAGE]), "memory_basis": "the most of all components"}
    if name == WHOLE or not isinstance(told, dict):
        reason = (
            case.reason
            if told is None and case.reason
            else told
            if isinstance(told, str)
            else "not yet; the same command without --no-memory measures it"
        )
        return {"peak_memory_mib": math.nan, "memory_basis": f"not measured: {reason}"}
    if name == ENCODER:
        return {"peak_memory_mib": max(told.get(part, 0.0) for part in inside), "memory_basis": "the most of its components"}
    return {
        "peak_memory_mib": told[name],
        "memory_basis": "fresh process, resident" if case.config.runtime.accelerator == "cpu" else "allocator",
    }


def _case_columns(case: Case, measured: Measured) -> Row:
    geometry = case.config.geometry
    return {
        "arm": case.arm,
        "canvas": f"{case.canvas[0]}x{case.canvas[1]}",
        "detail_cells": geometry.cells_a_side,
        "detail_px_a_tile": 32 * geometry.cells_a_side if geometry.whole_image is None else math.nan,
        "tiles": tiles_of(case.canvas, geometry),
        "llm_tokens": llm_tokens(case.canvas, case.config),
    }


def _setting_columns(measured: Measured) -> Row:
    setting = measured.setting
    return {
        "device": setting.device_name,
        "precision": setting.precision,
        "threads": setting.threads,
        "matmul_flops_per_second": max(measured.matmul, default=math.nan),
    }


def _sum(counts: list[Count]) -> Count:
    return Count(*(sum(getattr(count, field) for count in counts) for field in ("parameters", "trainable", "flops", "kept_bytes")))
