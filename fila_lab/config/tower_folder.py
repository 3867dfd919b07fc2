"""A folder of published weights: which files hold the tower, and what the JSON files beside them say of it.

Folders as open_clip, timm and transformers write them, and as the hub hands them out: several forms may lie beside each other.
"""

from __future__ import annotations

from pathlib import Path

from fila_lab.config.base import ConfigError
from fila_lab.config.json_files import read_mapping
from fila_lab.config.library_tags import OPEN_CLIP_FILES, TIMM_FILES
from fila_lab.config.tower_cards import Told, clip_told, no_tower, open_clip_told, timm_told
from fila_lab.config.weight_index import indexed_files
from fila_lab.config.weights import PICKLED

OPEN_CLIP_CARD = "open_clip_config.json"
CARD = "config.json"
"""What transformers and timm call theirs."""
CARDS = (OPEN_CLIP_CARD, CARD, "preprocessor_config.json", "processor_config.json")
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
"""Names of the files that say in which of several files a tensor lies."""
PREFERRED = (*OPEN_CLIP_FILES, TIMM_FILES[0], INDICES[0], TIMM_FILES[1], INDICES[1])
"""Where weights lie, or what says where: of several forms in one folder the first is read."""
_AGAIN = "fetch it again"


def weights_in(field: str, folder: Path) -> tuple[Path, ...]:
    """The files of a folder that hold its weights: one, or all that an index names. Of several forms the first of open_clip's, safetensors
    before what torch wrote, then transformers' and timm's in the same order.

    Args:
        field: what messages begin with.

    Raises:
        ConfigError: no such folder, none or several files that could be meant, or fewer than an index names.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{field} is neither a folder nor a file of weights (.safetensors, {', '.join(PICKLED)}); give one of these")
    if not folder.is_dir():
        raise ConfigError(f"{field}: there is no such folder; check the path, or give a name on the hub (hf:OWNER/NAME)")
    for name in PREFERRED:
        if (path := folder / name).is_file():
            return indexed_files(field, path) if name in INDICES else (path,)
    others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", *PICKLED) and path.is_file())
    if len(others) != 1:
        which = f"several weights in it ({', '.join(path.name for path in others[:3])})" if others else "no weights in it"
        raise ConfigError(f"{field}: {which}; give the path of the file")
    return tuple(others)


def told_beside(tower: str, field: str, files: tuple[Path, ...]) -> Told:
    """What the JSON files beside weights say of their tower; nothing where there are none that are known.

    Raises:
        ConfigError: a JSON file that cannot be read, or a tower of another kind.
    """
    if not files:
        return Told({})
    folder = files[0].parent
    names = {path.name for path in files}
    whole = not names & {*TIMM_FILES, *_named(folder)}
    if (folder / OPEN_CLIP_CARD).is_file() and (whole or not (folder / CARD).is_file()):
        return open_clip_told(tower, field, read_mapping(field, folder / OPEN_CLIP_CARD, _AGAIN))
    if not (folder / CARD).is_file():
        return Told({})
    card = read_mapping(field, folder / CARD, _AGAIN)
    if "architecture" in card:
        return timm_told(tower, field, card)
    if card.get("model_type") in ("clip", "clip_vision_model"):
        pixels = next((folder / name for name in CARDS[2:] if (folder / name).is_file()), None)
        return clip_told(tower, field, card, read_mapping(field, pixels, _AGAIN) if pixels else {})
    if whole:  # a file of its own beside another model's configuration
        return Told({})
    raise no_tower(tower, field, f" (model_type {card.get('model_type')})")


def _named(folder: Path) -> set[str]:
    """The files that a folder's indices name."""
    found: set[str] = set()
    for name in INDICES:
        if (path := folder / name).is_file():
            found |= {shard.name for shard in indexed_files("", path)}
    return found
