"""What `fila-lab cost --measure` leaves behind: table, fits, figures, manifest; and what it prints."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from fila_lab.config import RunConfig
    from fila_lab.config.geometry import Size
    from fila_lab.cost.setting import Setting

MANIFEST = "manifest.json"
WRITTEN = (MANIFEST, "table.csv", "costs.parquet", "fits.csv", "figures")
"""Names in DIR beside the state of the measurement."""


def measure_and_write(
    runs: Mapping[tuple[str, Size, int], RunConfig], setting: Setting, out: Path, *, rounds: int, memory: bool, command: str
) -> None:
    """Measure what is missing, write everything that DIR holds, and print it."""
    from fila_lab.cli.options import refuse_foreign
    from fila_lab.config.files import write_atomically
    from fila_lab.cost.fit import fits
    from fila_lab.cost.session import STATE, measure, measuring_code, open_state
    from fila_lab.cost.table import cost_table
    from fila_lab.studies.identity import code_hash
    from fila_lab.studies.manifest import machine, versions

    if setting.warning:
        typer.echo(f"warning: {setting.warning}", err=True)
    refuse_foreign(out, WRITTEN, STATE)
    open_state(out)
    started = datetime.datetime.now(datetime.UTC)
    manifest = _manifest(out)
    try:
        measure(runs, setting, out, rounds=rounds, memory=memory, report=lambda line: typer.echo(line, err=True))
    finally:
        manifest["runs"].append(
            {
                "command": command,
                "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
                "finished": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
                "device": setting.device_name,
                "precision": setting.precision,
                "threads": setting.threads,
            }
        )
        manifest |= {"machine": machine(), "versions": versions(), "code_hash": code_hash(), "measuring_code": measuring_code()}
        manifest["weights"] = "random"
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    frame = cost_table(open_state(out))
    fitted = fits(frame)
    frame.to_csv(out / "table.csv", index=False, float_format="%.6g")
    frame.to_parquet(out / "costs.parquet", index=False)
    fitted.to_csv(out / "fits.csv", index=False, float_format="%.6g")

    from fila_lab.analysis.costs import write_figures

    written = write_figures(frame, fitted, out / "figures")
    typer.echo(summary(frame, fitted))
    typer.echo(f"\ntable.csv, costs.parquet, fits.csv, {MANIFEST} and {len(written)} figures in {out}")


def summary(frame: pd.DataFrame, fitted: pd.DataFrame) -> str:
    """Setting by setting, the encoder of each arm and size and the components at one size; then the fits, and why figures are missing."""
    from fila_lab.cli.text import table

    parts = []
    for (precision, threads, device), rows in frame.groupby(["precision", "threads", "device"], sort=False):
        peak = rows["matmul_flops_per_second"].iloc[0]
        speed = f"matrix product at most {peak / 1e9:.0f} GFLOP/s" if peak == peak else "matrix product not timed"
        parts.append(f"{device}, {precision}, {threads} threads; {speed}; random weights, one image")
        parts.append(table(_HEADER, [_arm_row(part) for _, part in rows.groupby(["arm", "canvas", "detail_cells"], sort=False)]))
        most: Any = rows.groupby(["canvas", "detail_cells"], sort=False)["arm"].nunique().idxmax()  # the size that most arms have
        canvas, cells = most
        same = rows[(rows["canvas"] == canvas) & (rows["detail_cells"] == cells)]
        parts.append(f"components at {canvas}, k = {cells}")
        parts.append(table(_COMPONENT_HEADER, [_component_row(row) for row in _records(same)]))
    if len(fitted):
        parts.append("latency = a + b x FLOPs over sizes")
        parts.append(table(_FIT_HEADER, [_fit_row(row) for row in _records(fitted)]))
    for reason in sorted({str(text) for text in [*frame["latency_basis"], *frame["memory_basis"]] if str(text).startswith("not measured")}):
        parts.append(reason)
    return "\n\n".join(parts)


_HEADER = ("arm, canvas, k", "parameters", "fusion", "FLOPs", "fusion", "encoder ms", "IQR", "fusion ms", "MiB", "tokens", "of peak")
_COMPONENT_HEADER = ("arm, component", "parameters", "FLOPs", "training", "kept MiB", "ms", "IQR", "MiB", "of peak")
_FIT_HEADER = ("arm, component", "precision", "points", "a ms", "1/b GFLOP/s", "of peak", "R2", "largest residual")


def _arm_row(rows: pd.DataFrame) -> tuple[str, ...]:
    from fila_lab.cli.text import number
    from fila_lab.config.fusion_points import COMPONENT

    encoder = _records(rows[rows["component"] == "encoder"])[0]
    fusion = rows[rows["component"].str.startswith(COMPONENT)]
    return (
        f"{encoder['arm']}  {encoder['canvas']}  {encoder['detail_cells']}",
        number(encoder["parameters"]),
        number(fusion["parameters"].sum()),
        number(encoder["flops"]),
        number(fusion["flops"].sum()),
        _shown(encoder["latency_ms"]),
        _shown(encoder["latency_iqr_ms"]),
        _shown(fusion["latency_ms"].sum(min_count=1) if len(fusion) else 0.0),
        _shown(encoder["peak_memory_mib"]),
        str(encoder["llm_tokens"]),
        _shown(encoder["share_of_matmul_peak"], 2),
    )


def _component_row(row: dict[str, Any]) -> tuple[str, ...]:
    from fila_lab.cli.text import number

    return (
        f"{row['arm']}  {row['component']}",
        number(row["parameters"]),
        number(row["flops"]),
        number(row["training_flops"]) if row["training_flops"] == row["training_flops"] else "-",
        _shown(row["kept_bytes"] / 2**20),
        _shown(row["latency_ms"]),
        _shown(row["latency_iqr_ms"]),
        _shown(row["peak_memory_mib"]),
        _shown(row["share_of_matmul_peak"], 2),
    )


def _fit_row(row: dict[str, Any]) -> tuple[str, ...]:
    speed = row["flops_per_second"]
    return (
        f"{row['arm']}  {row['component']}",
        row["precision"],
        str(row["points"]),
        _shown(row["a_ms"]),
        _shown(speed / 1e9, 0),
        _shown(row["share_of_matmul_peak"], 2),
        _shown(row["r_squared"], 4),
        _shown(row["largest_residual_share"], 2),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    return [{str(column): value for column, value in row.items()} for row in frame.to_dict("records")]


def _shown(value: float, digits: int = 1) -> str:
    return "-" if value != value else f"{value:.{digits}f}"


def _manifest(out: Path) -> dict[str, Any]:
    """The folder's manifest so far: every command that added to it."""
    from fila_lab.config.json_files import read_json

    try:
        content = read_json(out / MANIFEST)
    except (OSError, ValueError):
        content = {}
    return {"runs": [], **(content if isinstance(content, dict) else {})}
