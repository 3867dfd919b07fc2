"""The results for people (terminal, Markdown) and for programs (JSON)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.lines import Line, Row
from benchmarks.subjects import RIVALS, towers_of


def write_record(out: Path, name: str, settings: Any, **found: Any) -> Path:
    """`<name>.json`: the machine, the day, the settings, and what was found."""
    record = {"machine": machine(), "date": date.today().isoformat(), "settings": settings, **found}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


HEADERS = ("", "time / bare", "range", "towers", "fusion adds", "its FLOPs", "time / floor", "peak / bare")


@dataclass
class Results:
    """What one run measured. rows, peak_tflops, memory (GiB over weights): by precision; training: arm -> images/s and ratio to none."""

    settings: dict[str, Any]
    rows: dict[str, list[Row]] = field(default_factory=dict)
    peak_tflops: dict[str, float] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    training: dict[str, dict[str, float]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    operators: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": machine(),
            "date": date.today().isoformat(),
            "settings": self.settings,
            "rows": {precision: [asdict(row) for row in rows] for precision, rows in self.rows.items()},
            "matmul_peak_tflops": self.peak_tflops,
            "peak_memory_gib": self.memory,
            "training": self.training,
            "lines": [line.record() for line in self.lines],
            "operators": self.operators,
        }


def machine() -> dict[str, Any]:
    """The processor and the libraries; nothing that names a host or a place."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return {
        "processor": names[0] if names else "unknown",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "timm": timm.__version__,
    }


def cells(row: Row, memory: dict[str, float]) -> tuple[str, ...]:
    """One row of the table as text."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f} %"

    (base,) = towers_of(row.name) if row.name in RIVALS else ("bare",)
    peak = f"{memory[row.name] / memory[base]:.2f}" if row.name in memory and base in memory else ""
    return (
        row.name,
        f"{row.ratio:.2f}",
        f"{row.low:.2f}-{row.high:.2f}",
        "" if row.towers is None else f"{row.towers:.2f}",
        percent(row.added),
        percent(row.flops_added),
        f"{row.floor:.2f}",
        peak,
    )


def show(results: Results, console: Console) -> None:
    """Tables and lines on the terminal."""
    for precision, rows in results.rows.items():
        table = Table(title=f"{precision}: ratios, medians of {results.settings['rounds']} interleaved rounds")
        for header in HEADERS:
            table.add_column(header, justify="left" if not header else "right")
        for row in rows:
            table.add_row(*cells(row, results.memory.get(precision, {})))
        console.print(table)
    if results.training:
        table = Table("arm", "images/s over none's", title="training, maps given")
        for arm, speed in results.training.items():
            table.add_row(arm, f"{speed['ratio']:.2f}")
        console.print(table)
    for line in results.lines:
        console.print(f"[{'green' if line.met else 'red'}]{line.arm}, {line.precision}[/]: {line}", highlight=False)
    for title, operators in results.operators.items():
        console.print(f"\n{title}: operators by share of the time")
        for name, share in operators:
            console.print(f"  {100 * share:5.1f} %  {name}", highlight=False, markup=False)


def write(results: Results, out: Path) -> tuple[Path, Path]:
    """benchmarks.json and benchmarks.md in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    record = results.record()
    data, page = out / "benchmarks.json", out / "benchmarks.md"
    data.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    page.write_text(markdown(results, record), encoding="utf-8")
    return data, page


def markdown(results: Results, record: dict[str, Any]) -> str:
    """A short page: machine, date, tables, lines, operators."""
    about, settings = record["machine"], results.settings
    parts = [
        "# Benchmarks of the hybrid encoder",
        f"{record['date']}; {about['processor']}, {about['threads']} threads; torch {about['torch']}, open_clip {about['open_clip']}, "
        f"timm {about['timm']}. Preset `{settings['preset']}`, random weights, batch {settings['images']}, canvas {settings['canvas']}, "
        f"{settings['rounds']} interleaved rounds.",
        "`time / bare`: median over rounds of a call's time over that of the bare open_clip and timm calls on the same pixels in the same "
        "round (`none` and arms without a map: over open_clip's alone; `convnext_only`: over timm's). `towers`: throughput of the towers "
        "inside the encoder over the bare calls'. `fusion adds`: time of reading maps and fusing over the rest of the same call; `its "
        "FLOPs`: the same in FLOPs. `time / floor`: time over "
        "counted FLOPs at the peak of a matrix product. `ARM, compiled`: the towers compiled by region, over the same bare eager calls. "
        "`peak / bare`: peak memory over weights, in fresh processes, over both bare calls', of arms with one tower over that one's. "
        "The lines to reach are set for preset `paper`.",
    ]
    for precision, rows in results.rows.items():
        peak, memory = results.peak_tflops[precision], results.memory.get(precision, {})
        parts.append(f"## {precision} (matmul peak {peak:.2f} TFLOP/s)")
        parts.append(_table(HEADERS, [cells(row, memory) for row in rows]))
        if memory:
            parts.append("Peak memory over weights, GiB: " + ", ".join(f"{name} {gib:.2f}" for name, gib in memory.items()) + ".")
    if results.training:
        parts.append(f"## Training ({settings['training']})")
        parts.append(_table(("arm", "images/s over none's"), [(arm, f"{s['ratio']:.2f}") for arm, s in results.training.items()]))
    parts.append("## Lines to reach")
    parts.append("\n".join(f"- {line.arm}, {line.precision}: {line}" for line in results.lines))
    for title, operators in results.operators.items():
        parts.append(f"## {title}: operators by share of the time")
        parts.append(_table(("share", "operator"), [(f"{100 * share:.1f} %", name) for name, share in operators]))
    return "\n\n".join(parts) + "\n"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
