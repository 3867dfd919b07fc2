"""Peak memory of inference over the weights, each subject in a fresh process: a peak in a process that has lived is another's."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.scene import Scene, benchmark_config
from benchmarks.subjects import BARE, RIVALS, subject
from fila_lab.config import FilaError
from fila_lab.cost.resident import forget_peak, resident
from fila_lab.modeling.precision import autocast

SUBJECTS = ("bare", *BARE, "none", "concat", "addition", "cross_attention", "upsample and window", *RIVALS)
LONGEST = 900


def peak_gib(name: str, preset: str, precision: str, threads: int) -> float:
    """GiB that a subject's call needs at most, over what the process holds once weights and pixels are there.

    FilaError where the process fails.
    """
    command = [sys.executable, "-m", "benchmarks.memory", name, "--preset", preset, "--precision", precision, "--threads", str(threads)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=Path(__file__).parents[1])
    if ended.returncode:
        raise FilaError(f"the process measuring the memory of {name!r} ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
    return float(json.loads(ended.stdout.splitlines()[-1]))


def grown_gib(name: str, preset: str, precision: str) -> float:
    """The same, in this process."""
    scene = Scene.build(benchmark_config(preset))
    one = subject(scene, name)
    scene.pixels, scene.detail, scene.library_vit  # noqa: B018 (made now, so that they are no call's memory)
    with torch.inference_mode(), autocast(precision):
        torch.nn.functional.conv2d(torch.rand(1, 3, 32, 32), torch.rand(8, 3, 4, 4), stride=4) @ torch.rand(8, 8)  # libraries' own start
        base = resident(peak=False)
        forget_peak()
        one.call()
    return (resident(peak=True) - base) / 2**30


def main() -> None:
    """Print one subject's GiB as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    if not Path("/proc/self/clear_refs").exists():
        raise SystemExit("a peak is told to start anew through /proc, which this system has not: use --no-memory")
    torch.set_num_threads(given.threads)
    print(json.dumps(grown_gib(given.name, given.preset, given.precision)))


if __name__ == "__main__":
    main()
