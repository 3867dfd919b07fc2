"""Weights: whether the package's own are what they were made as, and whether those that presets name are here."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config import load_preset, preset_names
from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json
from fila_lab.config.language_folder import named_folder
from fila_lab.config.weights import PACKAGE_WEIGHTS, weights_file
from fila_lab.studies.doctor.finding import Finding, looked


def weights() -> list[Finding]:
    """The package's, then every preset's that are none of the package's."""
    found = looked("package weights", _packaged, "install the package again")
    wanted: dict[tuple[str, str], list[str]] = {}
    for preset in preset_names():
        config = load_preset(preset)
        for part in ("vit", "convnext", "language"):
            spec = getattr(config, part).weights
            if spec != "random" and not spec.startswith("package:"):
                wanted.setdefault((part, spec), []).append(preset)
    for (part, spec), presets in wanted.items():
        found += looked(spec, lambda part=part, spec=spec, presets=presets: [_wanted(part, spec, presets)], "")  # type: ignore[misc]
    return found


def _packaged() -> list[Finding]:
    cards = sorted(PACKAGE_WEIGHTS.glob("*.json"))
    spoilt = [card.stem for card in cards if not _whole(card)]
    if spoilt or not cards:
        told = f"{', '.join(spoilt) or 'all'} missing, or not as published"
        return [Finding("package weights", "fail", told, "install the package again, or make them with `fila-lab pretrain`")]
    return [Finding("package weights", "ok", f"{len(cards)} files, each as its card says (sha256)")]


def _whole(card: Path) -> bool:
    file = card.with_suffix(".safetensors")
    return file.is_file() and read_json(card)["sha256"] == file_sha256(file)


def _wanted(part: str, spec: str, presets: list[str]) -> Finding:
    use = f"preset {' and '.join(presets)}"
    if (file := weights_file(spec)) is not None:
        here = file.is_file()
    elif part == "language" and named_folder("language.weights", spec) is not None:
        here = True
    else:
        repository = spec if part == "language" else _repository(spec)
        here = repository is not None and _fetched(repository)
        if not here and repository is not None:
            return Finding(spec, "warn", f"not here; {use} needs it", f"hf download {repository}, or copy its cache (HF_HOME)")
    if here:
        return Finding(spec, "ok", f"here, for {use}")
    return Finding(spec, "warn", f"not here; {use} needs it", "fetch it once where there is a network, or --set weights to a local file")


def _repository(spec: str) -> str | None:
    """The hub's name of a tower's weights, as its library knows it."""
    if spec.startswith("timm:"):
        import timm

        facts = timm.get_pretrained_cfg(spec.removeprefix("timm:"))
        return facts.hf_hub_id if facts is not None else None
    import open_clip

    model, _, tag = spec.removeprefix("open_clip:").partition("/")
    return str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub") or "").rstrip("/") or None


def _fetched(repository: str) -> bool:
    """Whether the hub's cache here holds weights of that name; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return False
    return any(next(folder.glob(pattern), None) is not None for pattern in ("*.safetensors", "*.bin", "*.pt"))
