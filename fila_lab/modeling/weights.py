"""Where a tower's weights come from, and their fingerprint.

`random` | `package:NAME` (ships with fila_lab) | a .safetensors file (or `file:PATH`) | `open_clip:MODEL/TAG` | `timm:MODEL.TAG`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fila_lab.config.base import FilaError
from fila_lab.config.hashing import file_sha256
from fila_lab.config.weights import LEFT_OUT, require_weights
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.fit import require_alike, require_facts, require_fit
from fila_lab.modeling.vit import VitTower

Tower = VitTower | ConvNextTower


def load_weights(tower: Tower, spec: str, field: str) -> None:
    """Fill the tower from `spec`; `field` is the configuration field that errors name. `random` leaves it as it was initialised.

    Raises FilaError when the weights are missing, unreadable, or of another shape.
    """
    if spec == "random":
        return
    path = require_weights(field, spec)
    if path is not None:
        state, told = read_file(path, spec, field)
        require_facts(field, spec, facts_of(tower), told)
    elif spec.startswith(("open_clip:", "timm:")):
        source = _from_open_clip(spec, field) if spec.startswith("open_clip:") else _from_timm(spec, field)
        state = {name.removeprefix("trunk."): value for name, value in source.state_dict().items()}
        require_alike(field, spec, tower.trunk, {name.removeprefix("trunk."): part for name, part in source.named_modules()})
    else:
        raise FilaError(
            f"{field}={spec!r} is not a source of weights; "
            "use random, package:NAME, a .safetensors file, open_clip:MODEL/TAG or timm:MODEL.TAG"
        )
    _fill(tower, state, spec, field)


def save_weights(tower: Tower, path: Path) -> None:
    """Write the tower's trunk as safetensors, in the form `load_weights` reads, with what its tensors do not tell in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in tower.trunk.state_dict().items()}
    save_file(state, path, facts_of(tower))


def facts_of(tower: Tower) -> dict[str, str]:
    """What the shapes of a tower's tensors do not tell: configuration field -> value."""
    if isinstance(tower, VitTower):
        return {"vit.heads": str(tower.config.heads), "vit.quick_gelu": str(tower.config.quick_gelu)}
    return {}


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
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise FilaError(f"{field}={spec!r}: {path} cannot be read as safetensors ({error}); make or fetch the file again") from error


def _from_open_clip(spec: str, field: str) -> nn.Module:
    import open_clip

    model, _, tag = spec.removeprefix("open_clip:").partition("/")
    known = open_clip.list_pretrained()
    if (model, tag) not in known:
        tags = ", ".join(t for m, t in known if m == model)
        hint = f"tags of {model}: {tags}" if tags else "see open_clip.list_pretrained()"
        raise FilaError(f"{field}={spec!r}: open_clip has no such model and tag; {hint}")
    # A model's name does not tell the activation that a tag's weights were trained with: open_clip builds another and warns.
    quick = bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu"))
    try:
        return open_clip.create_model(model, pretrained=tag, force_quick_gelu=quick).visual
    except Exception as error:
        raise _unfetched(spec, field, error) from error


def _from_timm(spec: str, field: str) -> nn.Module:
    import timm

    name = spec.removeprefix("timm:")
    if name not in timm.list_models(pretrained=True):
        raise FilaError(f"{field}={spec!r}: timm has no such pretrained model; see timm.list_models(pretrained=True)")
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:
        raise _unfetched(spec, field, error) from error


def _unfetched(spec: str, field: str, error: Exception) -> FilaError:
    first = str(error).strip().splitlines()[:1] or [""]
    return FilaError(
        f"{field}={spec!r}: the weights could not be fetched ({type(error).__name__}: {first[0]}); "
        "fill the hub cache on a machine with a network, or give a local .safetensors file"
    )


def _fill(tower: Tower, state: dict[str, Tensor], spec: str, field: str) -> None:
    """Heads and projections of the source are left out; else it must hold exactly what the tower has."""
    unused = LEFT_OUT["vit" if isinstance(tower, VitTower) else "convnext"]
    remedy = f"set the sizes in {field.rpartition('.')[0]} (and geometry) to those of the weights"
    tower.trunk.load_state_dict(require_fit(field, spec, tower.trunk.state_dict(), state, unused, remedy))
