"""One hash for configurations (canonical JSON, sha256, 16 hex digits), and one for files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def canonical_json(value: BaseModel | Mapping[str, Any]) -> str:
    """Sorted keys, no spaces, shortest round-trip floats: equal configurations give equal text."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain)


def config_hash(value: BaseModel | Mapping[str, Any]) -> str:
    """16 hex digits of the sha256 of the canonical JSON of a model or mapping."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """64 hex digits of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot hash a {type(value).__name__}")
