"""The weights and the tokenizer that a run names: which are on this machine, and the command that fetches those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from fila_lab.config.base import ConfigError
from fila_lab.config.hub_cache import cached_folder
from fila_lab.config.language_folder import named_folder
from fila_lab.config.library_tags import tag_repository
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tower_folder import weights_in
from fila_lab.config.tower_sources import cached_files, local_files
from fila_lab.config.vocabulary import VOCABULARY
from fila_lab.config.weight_headers import stored_shapes
from fila_lab.config.weights import require_weights, weights_form

State = Literal["random", "package", "here", "missing"]


class Holding(NamedTuple):
    """What a part of a run starts from.

    Attributes:
        part: `vit`, `convnext`, `language` or `tokenizer`.
        spec: what the configuration says.
        state: `random` needs nothing; `package` comes with this package; `here` and `missing` are on this machine, or not.
        files: those that are here.
        remedy: how to get what is missing: a command, or what to mend.
    """

    part: str
    spec: str
    state: State
    files: tuple[Path, ...] = ()
    remedy: str = ""


def holdings(config: RunConfig) -> list[Holding]:
    """Each part of a run that starts from something, in the order of the model, of every tower pair. Looks at this machine alone."""
    found = [_tower(tower, weights) for tower in ("vit", "convnext") for weights in _of_pairs(config, tower)]
    language = config.language
    found += [_language("language", weights) for weights in _of_pairs(config, "language")]
    if language.tokenizer not in VOCABULARY:
        found.append(_language("tokenizer", language.tokenizer))
    return found


def _of_pairs(config: RunConfig, room: str) -> list[str]:
    """The weights of a part, each once: the run's own, or those of all its tower pairs."""
    own: str = getattr(config, room).weights
    return list(dict.fromkeys(getattr(pair, room) or own for pair in config.tower_pairs)) or [own]


def absence_warnings(runs: Iterable[RunConfig]) -> list[str]:
    """What is to be said of published weights and tokenizers that runs need and this machine has not, each once."""
    told: dict[str, None] = {}
    named = {(run.vit.weights, run.convnext.weights, run.language.weights, run.language.tokenizer, has_convnext(run)): run for run in runs}
    for (*_, sees), run in named.items():
        for held in holdings(run):
            if held.state == "missing" and (sees or held.part != "convnext"):
                field = "language.tokenizer" if held.part == "tokenizer" else f"{held.part}.weights"
                told[f"{field} = {held.spec!r} is not on this machine: a cell fetches it, or, without a network, `{held.remedy}` first"] = (
                    None
                )
    return list(told)


def fetch_command(spec: str) -> str:
    """The command that puts published weights into the hub's cache: a library's tag, or `hf:OWNER/NAME`; of several names that a file may
    have the first that there is."""
    if spec.startswith("hf:"):
        return f"hf download {spec.removeprefix('hf:')}"
    repository = tag_repository(spec)
    if repository is None:
        return f"python -c 'import open_clip; open_clip.create_model(*{spec.partition(':')[2].split('/')!r})'"
    return " || ".join(f"hf download {repository.name} {name}" for name in repository.files)


def _tower(tower: str, spec: str) -> Holding:
    form = weights_form(tower, spec)
    if form.kind == "random":
        return Holding(tower, spec, "random")
    if form.kind in ("file", "folder"):
        try:
            files = local_files(tower, spec)
            _read_headers(f"{tower}.weights = {spec!r}", files)
            return Holding(tower, spec, "package" if spec.startswith("package:") else "here", files)
        except ConfigError as error:
            return Holding(tower, spec, "missing", remedy=str(error))
    files = cached_files(form)
    return Holding(tower, spec, "here", files) if files else Holding(tower, spec, "missing", remedy=fetch_command(spec))


def _language(part: str, spec: str) -> Holding:
    if spec == "random":
        return Holding(part, spec, "random")
    field = "language.weights" if part == "language" else "language.tokenizer"
    try:
        if part == "language" and (file := require_weights(field, spec)) is not None:
            return Holding(part, spec, "package" if spec.startswith("package:") else "here", (file,))
        folder = named_folder(field, spec)
        files = () if folder is None else _files(part, field, spec, folder)
        if folder is not None and not files:
            raise ConfigError(f"{field} = {spec!r} holds no tokenizer; give a folder that a tokenizer's save_pretrained wrote")
        if part == "language":
            _read_headers(f"{field} = {spec!r}", files)
    except ConfigError as error:
        return Holding(part, spec, "missing", remedy=str(error))
    if folder is None and (cached := cached_folder(spec)) is not None:
        try:
            files = _files(part, field, spec, cached)
        except ConfigError:  # not all of it has been fetched
            files = ()
    return Holding(part, spec, "here", files) if files else Holding(part, spec, "missing", remedy=f"hf download {spec}")


def _read_headers(field: str, files: Iterable[Path]) -> None:
    """ConfigError for a file that is there and cut off, or no file of weights."""
    for path in files:
        stored_shapes(field, path)


def _files(part: str, field: str, spec: str, folder: Path) -> tuple[Path, ...]:
    if part == "language":
        return weights_in(f"{field} = {spec!r}", folder)
    return tuple(path for path in sorted(folder.glob("*token*")) if path.is_file())
