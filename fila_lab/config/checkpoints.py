"""Whether local checkpoints and tokenizers are there and fit a run, read from their headers alone. Torch-free."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from fila_lab.config.base import ConfigError
from fila_lab.config.counts import VOCABULARY
from fila_lab.config.run import RunConfig
from fila_lab.config.weights import LEFT_OUT, require_weights, surplus_tensors

Shape = tuple[int, ...]
_SIZES = {
    "hidden_size": "width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "intermediate_size": "intermediate",
}
"""transformers' names in config.json -> fields of `language`."""
_HUB_NAME = re.compile(r"^[\w.-]+(?:/[\w.-]+)?$")


def check_checkpoints(config: RunConfig) -> None:
    """Refuse weights files, language model folders and tokenizer folders that are missing, damaged, or of other sizes than the run's.

    Raises:
        ConfigError: field, file, both sizes and remedy.
    """
    wanted = {"vit": _vit(config), "convnext": _convnext(config)}
    for tower, shapes in wanted.items():
        spec = getattr(config, tower).weights
        path = require_weights(f"{tower}.weights", spec)
        if path is not None:
            _check_shapes(f"{tower}.weights = {spec!r}", path, shapes, tower)
    spec = config.language.weights
    path = require_weights("language.weights", spec)
    if path is not None:
        _check_shapes(f"language.weights = {spec!r}", path, _answers(config), "language")
    elif spec != "random":
        _check_folder(config)
    if config.language.tokenizer not in ("characters", "words"):
        _there("language.tokenizer", config.language.tokenizer)


def tensor_shapes(path: Path) -> dict[str, Shape]:
    """Name -> shape of the tensors in a safetensors file, from its header.

    Raises:
        ValueError: the header is damaged, or the file shorter than it says.
    """
    state = path.stat()
    return _header(str(path), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _header(path: str, size: int, changed: int) -> dict[str, Shape]:
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= size - 8:
            raise ValueError("no safetensors header")
        content = json.loads(stream.read(length))
    tensors = {name: entry for name, entry in content.items() if name != "__metadata__"}
    try:
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in tensors.items()}
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("a damaged safetensors header") from error
    if size != 8 + length + end:
        raise ValueError(f"{size} bytes, {8 + length + end} by its header")
    return shapes


def _check_shapes(field: str, path: Path, wanted: dict[str, Shape], room: str) -> None:
    try:
        found = tensor_shapes(path)
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{field}: {path} cannot be read as safetensors ({error}); make or fetch the file again") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(f"{field} lacks {len(missing)} of {len(wanted)} tensors, e.g. {missing[0]}; choose weights of this architecture")
    surplus = surplus_tensors(found, wanted, LEFT_OUT[room]) if room in LEFT_OUT else []
    if surplus:
        raise ConfigError(
            f"{field} has, more than the configuration, {len(surplus)} tensors, e.g. {surplus[0]}; choose weights of this architecture"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ConfigError(
                f"{field}: {name} has shape {list(found[name])}, the configuration says {list(shape)}; set the sizes in {room} "
                "(and geometry) to those of the weights"
            )


def _check_folder(config: RunConfig) -> None:
    """A language model's folder: its config.json against `language`, its weights, and the tokenizer's size."""
    language, spec = config.language, config.language.weights
    folder = _there("language.weights", spec)
    if folder is None:
        return
    try:
        content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"language.weights = {spec!r}: no readable config.json in it ({error}); give a transformers model's folder"
        ) from error
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise ConfigError(f"language.weights = {spec!r}: no weights in it (model.safetensors); give the folder of a saved model")
    differing = {}
    for theirs, ours in _SIZES.items():
        said = language.kv_heads or language.heads if ours == "kv_heads" else getattr(language, ours)
        if isinstance(content.get(theirs), int) and content[theirs] != said:
            differing[ours] = content[theirs]
    if differing:
        sizes = " ".join(f"--set language.{name}={value}" for name, value in differing.items())
        raise ConfigError(f"language.weights = {spec!r} is a model of other sizes than `language` says; use {sizes}")
    words, held = VOCABULARY.get(language.tokenizer), content.get("vocab_size")
    if words is not None and isinstance(held, int) and words > held:
        raise ConfigError(
            f"language.tokenizer = {language.tokenizer!r} has {words} tokens, and language.weights = {spec!r} knows {held}; "
            f"use --set language.tokenizer={spec}"
        )


def _there(field: str, spec: str) -> Path | None:
    """The folder a field names; None for a name on the hub, which only the hub's library can judge."""
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return folder
    local = folder.is_absolute() or spec.startswith((".", "~")) or spec.endswith("/") or not _HUB_NAME.match(spec) or folder.exists()
    if local or (len(folder.parts) > 1 and folder.parent.is_dir()):
        raise ConfigError(f"{field} = {spec!r}: there is no such folder; check the path, or give a name on the hub (owner/name)")
    return None


def _vit(config: RunConfig) -> dict[str, Shape]:
    """open_clip's VisionTransformer, without its projection."""
    vit, geometry = config.vit, config.geometry
    width, inner = vit.width, int(vit.width * vit.mlp_ratio)
    shapes: dict[str, Shape] = {
        "class_embedding": (width,),
        "positional_embedding": (geometry.grid**2 + 1, width),
        "conv1.weight": (width, 3, geometry.patch, geometry.patch),
    }
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for layer in range(vit.layers):
        block = f"transformer.resblocks.{layer}"
        shapes |= {f"{block}.{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        shapes |= {f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,)}
        shapes |= {f"{block}.mlp.c_fc.weight": (inner, width), f"{block}.mlp.c_fc.bias": (inner,)}
        shapes |= {f"{block}.mlp.c_proj.weight": (width, inner), f"{block}.mlp.c_proj.bias": (width,)}
    return shapes


def _convnext(config: RunConfig) -> dict[str, Shape]:
    """timm's ConvNeXt, without its head."""
    convnext, before = config.convnext, 3
    ones = (1, 1) if convnext.conv_mlp else ()
    shapes: dict[str, Shape] = {}
    for stage, (depth, dim) in enumerate(zip(convnext.depths, convnext.dims, strict=True)):
        if stage == 0:
            shapes |= {"stem.0.weight": (dim, 3, 4, 4), "stem.0.bias": (dim,), "stem.1.weight": (dim,), "stem.1.bias": (dim,)}
        else:
            down = f"stages.{stage}.downsample"
            shapes |= {f"{down}.0.weight": (before,), f"{down}.0.bias": (before,), f"{down}.1.bias": (dim,)}
            shapes[f"{down}.1.weight"] = (dim, before, 2, 2)
        for number in range(depth):
            block = f"stages.{stage}.blocks.{number}"
            shapes |= {f"{block}.{name}": (dim,) for name in ("gamma", "conv_dw.bias", "norm.weight", "norm.bias", "mlp.fc2.bias")}
            shapes |= {f"{block}.conv_dw.weight": (dim, 1, 7, 7), f"{block}.mlp.fc1.bias": (4 * dim,)}
            shapes |= {f"{block}.mlp.fc1.weight": (4 * dim, dim, *ones), f"{block}.mlp.fc2.weight": (dim, 4 * dim, *ones)}
        before = dim
    return shapes


def _answers(config: RunConfig) -> dict[str, Shape]:
    """The parts that `fila-lab pretrain answers` writes, as far as their sizes are the configuration's."""
    language, vit = config.language, config.vit
    width, keys = language.width, (language.kv_heads or language.heads) * (language.width // language.heads)
    shapes: dict[str, Shape] = {"separator.separator": (width,), "language.model.norm.weight": (width,)}
    if language.tokenizer in VOCABULARY:
        shapes["language.model.embed_tokens.weight"] = (VOCABULARY[language.tokenizer], width)
    for layer in range(language.layers):
        block = f"language.model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (width, width) for name in ("q", "o")}
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (keys, width) for name in ("k", "v")}
        shapes |= {f"{block}.mlp.{name}_proj.weight": (language.intermediate, width) for name in ("gate", "up")}
        shapes[f"{block}.mlp.down_proj.weight"] = (width, language.intermediate)
    shapes["projector.weight" if config.projector.kind == "linear" else "projector.0.weight"] = (width, vit.width)
    return shapes
