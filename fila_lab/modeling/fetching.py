"""Published weights: out of the hub's cache where they are in it, without a word to the network; else fetched."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config.base import ConfigError, FilaError, MachineError
from fila_lab.config.library_tags import tag_repository
from fila_lab.config.published_weights import fetch_command
from fila_lab.config.tower_cards import Told, open_clip_told
from fila_lab.config.tower_folder import CARDS, INDICES, PREFERRED, weights_in
from fila_lab.config.tower_sources import cached_files, tag_told
from fila_lab.config.weights import Form
from fila_lab.modeling.quiet import without_attempts


def published_files(form: Form, spec: str, named: str) -> tuple[Path, ...]:
    """The files of a library's tag or of a name on the hub.

    Args:
        spec: the field's value.
        named: field and value, with which messages begin.

    Raises:
        MachineError: they are neither here nor to be fetched: a cell is left undone until they are.
        ConfigError: a repository without weights.
    """
    if files := cached_files(form):
        return files
    try:
        with without_attempts():
            return _hub_files(form.name, named) if form.kind == "hf" else (_tag_file(form),)
    except ConfigError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise MachineError(
            f"{named}: the weights could not be fetched ({type(error).__name__}: {first}); fill the hub cache on a machine with a "
            f"network (`{fetch_command(spec)}`), or give a local file",
            "weights absent",
        ) from error


def tag_facts(tower: str, form: Form, named: str) -> Told:
    """What the library itself says of the tower that its tag names.

    Raises:
        FilaError: no such tag, or a tower of another kind.
    """
    if form.kind == "timm":
        import timm

        if form.name not in timm.list_models(pretrained=True):
            raise FilaError(f"{named}: timm has no such pretrained model; see timm.list_models(pretrained=True)")
        return tag_told(tower, f"timm:{form.name}")
    import open_clip

    model, _, tag = form.name.partition("/")
    settings = open_clip.get_pretrained_cfg(model, tag)
    if not settings:
        tags = ", ".join(name for owner, name in open_clip.list_pretrained() if owner == model)
        hint = f"tags of {model}: {tags}" if tags else "see open_clip.list_pretrained()"
        raise FilaError(f"{named}: open_clip has no such model and tag; {hint}")
    # A model's name does not tell the activation that a tag's weights were trained with.
    card = {**(open_clip.get_model_config(model) or {}), "quick_gelu": bool(settings.get("quick_gelu"))}
    return open_clip_told(tower, named, card)


def _tag_file(form: Form) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if (repository := tag_repository(f"{form.kind}:{form.name}")) is not None:
        for name in repository.files:
            try:
                return Path(hf_hub_download(repository.name, name))
            except LocalEntryNotFoundError:  # no network, which is not: no such file
                raise
            except EntryNotFoundError:
                continue
    if form.kind == "timm":
        raise FileNotFoundError("timm names no repository that holds them")
    import open_clip

    return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(*form.name.split("/", 1))))


def _hub_files(repository: str, named: str) -> tuple[Path, ...]:
    """Of a repository's forms of weights the one that is read, with the JSON files beside it."""
    from huggingface_hub import HfApi, snapshot_download

    there = HfApi().list_repo_files(repository)
    chosen = next((name for name in PREFERRED if name in there), "*.safetensors")
    shards = [f"{chosen.partition('.')[0]}-*"] if chosen in INDICES else []
    return weights_in(named, Path(snapshot_download(repository, allow_patterns=[*CARDS, chosen, *shards])))
