"""Whether a language model's and a tokenizer's folders are there, whole, and fit a run and each other, read without loading them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from fila_lab.config.base import ConfigError
from fila_lab.config.hub_cache import HUB_NAME
from fila_lab.config.json_files import read_mapping
from fila_lab.config.language import LanguageConfig
from fila_lab.config.prompts import TEMPLATES
from fila_lab.config.vocabulary import VOCABULARY
from fila_lab.config.weight_headers import require_floats, stored_types
from fila_lab.config.weight_index import indexed_files

_SIZES = {
    "width": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim"),
}
"""Fields of `language` -> transformers' names for them in config.json."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")


def check_language(language: LanguageConfig) -> None:
    """Refuse folders that are missing, damaged, of other sizes than `language` says, or made for each other's strangers. Names on the hub
    are the hub library's to judge.

    Raises:
        ConfigError: field, folder and remedy.
    """
    own = language.weights == "random" or language.weights.startswith("package:") or language.weights.endswith(".safetensors")
    folder = None if own else named_folder("language.weights", language.weights)
    if folder is not None:
        _check_model(language, folder)
    tokenizer_size(language)


def language_sizes(spec: str) -> dict[str, Any]:
    """Configuration field -> value, as far as the config.json of a language model's folder tells; empty for all that is no folder.

    Raises:
        ConfigError: a path without a folder, or a folder without a readable config.json.
    """
    own = spec == "random" or spec.startswith("package:") or spec.endswith(".safetensors")
    folder = None if own else named_folder("language.weights", spec)
    if folder is None:
        return {}
    whole, content = _configuration(spec, folder)
    told: dict[str, Any] = {}
    for ours, theirs in _SIZES.items():
        if (held := next((content[name] for name in theirs if isinstance(content.get(name), int)), None)) is not None:
            told[f"language.{ours}"] = held
    if whole.get("model_type") in get_args(LanguageConfig.model_fields["architecture"].annotation):
        told["language.architecture"] = whole["model_type"]
    return told


def tokenizer_size(language: LanguageConfig) -> int | None:
    """Embeddings that the run's tokenizer needs; None where it cannot be told without loading it.

    Raises:
        ConfigError: a folder that is missing, holds no tokenizer, or one without an end token.
    """
    spec = language.tokenizer
    if spec in ("characters", "words"):
        return VOCABULARY[spec]
    folder = named_folder("language.tokenizer", spec)
    if folder is None:
        return None
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ConfigError(f"language.tokenizer = {spec!r}: no tokenizer in it (tokenizer.json); give the folder of a saved tokenizer")
    if not (folder / "tokenizer.json").is_file():
        return None
    content = _told_by_tokenizer(spec, folder / "tokenizer.json")
    told = {name: _told_by_tokenizer(spec, path) for name, path in _beside(folder)}
    generic = told.get("tokenizer_config.json", {}).get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
    if generic and not any(settings.get("eos_token") for settings in told.values()):
        raise ConfigError(
            f"language.tokenizer = {spec!r} has no end token (eos_token), so no answer would end; give a tokenizer that names one"
        )
    try:
        vocabulary = content["model"]["vocab"]
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
        ids += [int(token["id"]) for token in content.get("added_tokens") or ()]
        return max(map(int, ids)) + 1
    except (KeyError, TypeError, ValueError):
        return None


def lacking_tokens(language: LanguageConfig) -> tuple[str, ...] | None:
    """Special tokens of the run's template that its tokenizer does not have; None where it cannot be told without loading it.

    Raises:
        ConfigError: as `tokenizer_size`.
    """
    special = TEMPLATES[language.template].special
    if not special or language.tokenizer in ("characters", "words"):
        return special
    folder = named_folder("language.tokenizer", language.tokenizer)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    content = _told_by_tokenizer(language.tokenizer, folder / "tokenizer.json")
    there = {token.get("content") for token in content.get("added_tokens") or ()}
    return tuple(text for text in special if text not in there)


def template_warning(language: LanguageConfig, lacking: Collection[str] | None) -> str | None:
    """What a template comes to whose special tokens the tokenizer lacks; None where it lacks none, or that is not known."""
    if not lacking:
        return None
    template = TEMPLATES[language.template]
    spelled = [text for text in lacking if text in template.head + template.ask + template.between]
    what = [f"spells {', '.join(spelled)} out, as tokens of any text"] if spelled else []
    what += [f"ends answers with its own end token, not {template.end}"] if template.end in lacking else []
    return (
        f"language.template = {language.template!r}: the tokenizer {language.tokenizer!r} has no token {', '.join(lacking)}, so it "
        f"{' and '.join(what)}; give a tokenizer with these tokens, or another template"
    )


def named_folder(field: str, spec: str) -> Path | None:
    """The folder a field names; None for a name on the hub, which only the hub's library can judge.

    Raises:
        ConfigError: a path without a folder, or what can be neither.
    """
    if "\0" in spec or not spec.strip():
        raise ConfigError(f"{field} = {spec!r} is no name; give a folder, or a name on the hub (owner/name)")
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return folder
    local = folder.is_absolute() or spec.startswith((".", "~")) or spec.endswith("/") or not HUB_NAME.match(spec) or folder.exists()
    if local or (len(folder.parts) > 1 and folder.parent.is_dir()):
        raise ConfigError(f"{field} = {spec!r}: there is no such folder; check the path, or give a name on the hub (owner/name)")
    return None


def stored_files(folder: Path) -> list[Path]:
    """The files of a language model's folder that hold its weights."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _beside(folder: Path) -> list[tuple[str, Path]]:
    names = ("tokenizer_config.json", "special_tokens_map.json")
    return [(name, folder / name) for name in names if (folder / name).is_file()]


def _told_by_tokenizer(spec: str, path: Path) -> dict[str, Any]:
    return read_mapping(f"language.tokenizer = {spec!r}", path, "give the folder of a saved tokenizer")


def _configuration(spec: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json says of the whole model, and of the language model in it."""
    whole = read_mapping(f"language.weights = {spec!r}", folder / "config.json", "give a transformers model's folder")
    return whole, whole["text_config"] if isinstance(whole.get("text_config"), dict) else whole


def _check_model(language: LanguageConfig, folder: Path) -> None:
    spec = language.weights
    whole, content = _configuration(spec, folder)
    if "quantization_config" in {*whole, *content}:
        raise ConfigError(f"language.weights = {spec!r} is quantised (quantization_config of its config.json); give unquantised weights")
    _check_files(spec, folder)
    said = {f"language.{name}": value for name, value in language.model_dump(context={"whole": True}).items()}
    said["language.kv_heads"] = language.kv_heads or language.heads
    differing = {field: value for field, value in language_sizes(spec).items() if value != said[field]}
    if differing:
        sizes = " ".join(f"--set {field}={value}" for field, value in differing.items())
        what = "another architecture" if "language.architecture" in differing else "other sizes"
        raise ConfigError(f"language.weights = {spec!r} is a model of {what} than `language` says; use {sizes}")
    needed, rows = tokenizer_size(language), content.get("vocab_size")
    if needed is not None and isinstance(rows, int) and needed > rows:
        remedy = "give the tokenizer that belongs to the weights" if language.tokenizer == spec else f"use --set language.tokenizer={spec}"
        raise ConfigError(
            f"language.tokenizer = {language.tokenizer!r} has {needed} tokens, and language.weights = {spec!r} knows {rows}; {remedy}"
        )


def _check_files(spec: str, folder: Path) -> None:
    """Weights are there: every file that an index names, none cut short, and none quantised."""
    for index in sorted(folder.glob("*.index.json")):
        indexed_files(f"language.weights = {spec!r}", index)
    files = stored_files(folder)
    if not files:
        raise ConfigError(f"language.weights = {spec!r}: no weights in it (model.safetensors); give the folder of a saved model")
    for path in files:
        types = stored_types(f"language.weights = {spec!r}", path) or {}
        require_floats(f"language.weights = {spec!r}", types, (name for name in types if name.endswith("weight")))  # buffers may be whole
