"""Whether local checkpoints and tokenizers are there and fit a run, read from their headers alone. Torch-free."""

from __future__ import annotations

import json
from pathlib import Path

from fila_lab.config.base import ConfigError
from fila_lab.config.language_folder import check_language, tokenizer_size
from fila_lab.config.library_tags import tag_sizes
from fila_lab.config.lora_maps import check_lora
from fila_lab.config.run import RunConfig
from fila_lab.config.safetensors_header import Shape, tensor_shapes
from fila_lab.config.weights import LEFT_OUT, require_weights, surplus_tensors


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
        elif spec != "random":
            _check_tag(tower, spec, config)
    spec = config.language.weights
    path = require_weights("language.weights", spec)
    if path is not None:
        _check_shapes(f"language.weights = {spec!r}", path, _answers(config), "language")
    check_language(config.language)
    check_lora(config.language)


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


def _check_tag(tower: str, spec: str, config: RunConfig) -> None:
    """A library's tag: known to it, and of the sizes that the configuration says."""
    differing = {}
    for field, value in tag_sizes(tower, spec).items():
        room, _, name = field.partition(".")
        if getattr(getattr(config, room), name) != value:
            differing[field] = list(value) if isinstance(value, tuple) else value
    if differing:
        sizes = " ".join(f"--set {field}={json.dumps(value, separators=(',', ':'))}" for field, value in differing.items())
        raise ConfigError(f"{tower}.weights = {spec!r} is another tower than the configuration says; use {sizes}")


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
    if (words := tokenizer_size(language)) is not None:
        shapes["language.model.embed_tokens.weight"] = (words, width)
    for layer in range(language.layers):
        block = f"language.model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (width, width) for name in ("q", "o")}
        shapes |= {f"{block}.self_attn.{name}_proj.weight": (keys, width) for name in ("k", "v")}
        shapes |= {f"{block}.mlp.{name}_proj.weight": (language.intermediate, width) for name in ("gate", "up")}
        shapes[f"{block}.mlp.down_proj.weight"] = (width, language.intermediate)
    shapes["projector.weight" if config.projector.kind == "linear" else "projector.0.weight"] = (width, vit.width)
    return shapes
