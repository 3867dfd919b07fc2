"""What the hub's cache on this machine holds. Asks nobody: no look here leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

HUB_NAME = re.compile(r"^[\w-][\w.-]*(?:/[\w.-]+)?$")
"""What a repository on the hub may be called: `owner/name`, or a bare name."""


def cached_file(repository: str, names: Iterable[str]) -> Path | None:
    """The first of these files of a repository that is here; None where none is."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = (try_to_load_from_cache(repository, name) for name in names)
        return next((Path(path) for path in found if isinstance(path, str)), None)
    except HFValidationError:
        return None


def cached_folder(repository: str) -> Path | None:
    """The folder of a repository's newest snapshot that is here, whole or not; None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
