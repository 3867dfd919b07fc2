"""A tower's weights: loaded from where `weights` says, saved, and their fingerprint. `fila_lab.config.layouts` has the forms."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fila_lab.config.base import ConfigError
from fila_lab.config.files import set_usual_mode
from fila_lab.config.hashing import file_sha256
from fila_lab.config.layouts import joined_shape, reading
from fila_lab.config.tower_cards import Statistics, Told
from fila_lab.config.tower_shapes import POSITIONS
from fila_lab.config.tower_sources import local_files, source_of
from fila_lab.config.weights import Form, require_weights, weights_form
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.fetching import published_files, tag_facts
from fila_lab.modeling.fit import require_facts, require_fit
from fila_lab.modeling.positions import resampled
from fila_lab.modeling.tensor_files import TensorFiles
from fila_lab.modeling.vit import VitTower

Tower = VitTower | ConvNextTower


def load_weights(tower: Tower, spec: str, field: str) -> None:
    """Fill the tower from `spec`; `field` is the configuration field that errors name. `random` leaves it as it was initialised.

    Raises:
        FilaError: weights that are missing, unreadable, of other shapes, or that say of themselves what the configuration says otherwise;
            the tower is then as it was.
    """
    kind = "vit" if isinstance(tower, VitTower) else "convnext"
    form, named = weights_form(kind, spec), f"{field}={spec!r}"
    if form.kind == "random":
        return
    files, told = _source(kind, form, spec, named)
    require_facts(field, spec, _facts(tower), {name: str(value) for name, value in told.fields.items()})
    _require_statistics(kind, named, tower.statistics, told.statistics)
    with TensorFiles(named, files) as tensors:
        require_facts(field, spec, _facts(tower), tensors.metadata)
        given = _given(kind, tensors, named)
        if isinstance(tower, VitTower) and tower.config.positions == "interpolate" and POSITIONS in given:
            given[POSITIONS] = resampled(given[POSITIONS], tower.grid)
        remedy = f"set the sizes in {kind} (and geometry) to those of the weights"
        remedy += ", or vit.positions=interpolate for another grid" if kind == "vit" else ""
        tower.trunk.load_state_dict(require_fit(field, spec, tower.trunk.state_dict(), given, remedy=remedy))


def save_weights(tower: Tower, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the tower's trunk as safetensors, in the form `load_weights` reads, with what its tensors do not tell in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().to(dtype).contiguous() for name, value in tower.trunk.state_dict().items()}
    usual = isinstance(tower, ConvNextTower) and tower.config.norm_eps == type(tower.config).model_fields["norm_eps"].default
    save_file(state, path, {} if usual else _facts(tower))
    set_usual_mode(path)


def weights_sha256(source: str | nn.Module) -> str:
    """Fingerprint of weights, 64 hex digits.

    A module: over names, dtypes, shapes and bytes of its state. A `weights` field: of the file it names, else of the field itself
    (library tags name published files; `random` is a frozen tower's one random state). FilaError when the file is missing.
    """
    if isinstance(source, str):
        path = require_weights("weights", source)
        return hashlib.sha256(source.encode()).hexdigest() if path is None else file_sha256(path)
    digest = hashlib.sha256()
    for name, value in sorted(source.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_file(path: Path, spec: str, field: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; FilaError when it is none."""
    with TensorFiles(f"{field}={spec!r}", (path,)) as tensors:
        return dict(tensors), tensors.metadata


def _source(kind: str, form: Form, spec: str, named: str) -> tuple[tuple[Path, ...], Told]:
    """The files of the weights, and what is said of them beside them."""
    if form.kind in ("open_clip", "timm"):
        told = tag_facts(kind, form, named)  # before anything is fetched
        return published_files(form, spec, named), told
    files = published_files(form, spec, named) if form.kind == "hf" else local_files(kind, spec)
    source = source_of(kind, named, files)
    return files, Told(dict(source.told), source.statistics)


def _given(kind: str, tensors: TensorFiles, named: str) -> dict[str, Tensor]:
    """The tower's tensors by their names here; those that it has no place for stand beside them, empty."""
    read, given = reading(kind, tensors.keys(), named), {}
    for own, pieces in read.pieces.items():
        parts = [tensors[piece] for piece in pieces]
        try:
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        except RuntimeError as error:
            raise ConfigError(f"{named}: {', '.join(pieces)} do not belong together ({error}); fetch the weights again") from error
        given[own] = whole.reshape(joined_shape(own, [tuple(whole.shape)]))
    return given | {name: torch.empty(0) for name in read.surplus}


def _facts(tower: Tower) -> dict[str, str]:
    """What the shapes of a tower's tensors do not tell: configuration field -> value."""
    if isinstance(tower, VitTower):
        return {"vit.heads": str(tower.config.heads), "vit.quick_gelu": str(tower.config.quick_gelu)}
    return {"convnext.norm_eps": str(tower.config.norm_eps)}


def _require_statistics(kind: str, named: str, own: Statistics, told: Statistics | None) -> None:
    if told is not None and told != own:
        mean, std = (list(channels) for channels in told)
        raise ConfigError(
            f"{named} were trained on pixels of mean {mean} and std {std}, the configuration says {own[0]} and {own[1]}; "
            f"set {kind}.pixels={{mean: {mean}, std: {std}}}"
        )
