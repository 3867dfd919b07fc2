"""Where results and caches go: whether they can be written and locked, and have room."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from fila_lab.config.files import RUNS, cache_limit, default_cache, try_lock
from fila_lab.studies.doctor.finding import Finding, looked

GIB = 2**30
LITTLE_GIB, TOO_LITTLE_GIB = 5.0, 0.5


def places() -> list[Finding]:
    """The results' folder, the cache, and temporary files."""
    found: list[Finding] = []
    spots = {"results": RUNS, "cache": default_cache(), "temporary files": Path(tempfile.gettempdir())}
    remedies = {"results": "give --out elsewhere", "cache": "set FILA_LAB_CACHE", "temporary files": "set TMPDIR"}
    for name, place in spots.items():
        remedy = f"mend its permissions, mount it with locks, or {remedies[name]}"
        found += looked(name, lambda name=name, place=place: [_place(name, place, remedies[name])], remedy)  # type: ignore[misc]
    return found + looked("cache's limit", _limit, "")


def _place(name: str, place: Path, otherwise: str) -> Finding:
    """Written and locked in the folder itself, or in the nearest above it that is there: nothing is made that was not."""
    there = _nearest(place)
    if not there.is_dir():
        return Finding(name, "fail", f"{place}: {there} is no folder", f"move that away, or {otherwise}")
    with tempfile.NamedTemporaryFile("w", dir=there, prefix=".fila-lab-") as probe:
        probe.write("written")
        probe.flush()
        if not try_lock(probe.file):
            return Finding(name, "fail", f"{place}: a file that nobody holds cannot be locked", otherwise)
    free = shutil.disk_usage(there).free / GIB
    told = f"{place}: written and locked, {free:.1f} GiB free"
    if free < TOO_LITTLE_GIB:
        return Finding(name, "fail", told, f"free space there, or {otherwise}")
    return Finding(name, "warn", told, f"free space there, or {otherwise}") if free < LITTLE_GIB else Finding(name, "ok", told)


def _limit() -> list[Finding]:
    limit = cache_limit() / GIB
    free = shutil.disk_usage(_nearest(default_cache())).free / GIB
    if limit > free:
        told = f"it may grow to {limit:.0f} GiB, and {free:.1f} GiB are free"
        return [Finding("cache's limit", "warn", told, f"FILA_LAB_CACHE_GIB={max(1, int(free / 2))}")]
    return [Finding("cache's limit", "ok", f"{limit:.0f} GiB")]


def _nearest(place: Path) -> Path:
    """The path itself, or the nearest above it that there is: a file, or a link that leads nowhere, is one, and no folder can be there."""
    there = place.absolute()
    return there if os.path.lexists(there) else _nearest(there.parent)
