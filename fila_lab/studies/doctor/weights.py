"""Weights: whether the package's own are what they were made as, and whether those that presets name are here."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config import load_preset, preset_names
from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json
from fila_lab.config.published_weights import Holding, holdings
from fila_lab.config.weights import PACKAGE_WEIGHTS
from fila_lab.studies.doctor.finding import Finding, looked


def weights() -> list[Finding]:
    """The package's, then every preset's that are none of the package's."""
    found = looked("package weights", _packaged, "install the package again")
    wanted: dict[Holding, list[str]] = {}
    for preset in preset_names():
        for held in holdings(load_preset(preset)):
            if held.part != "tokenizer" and held.state in ("here", "missing"):
                wanted.setdefault(held, []).append(preset)
    for held, presets in wanted.items():
        found += looked(held.spec, lambda held=held, presets=presets: [_wanted(held, presets)], "")  # type: ignore[misc]
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


def _wanted(held: Holding, presets: list[str]) -> Finding:
    use = f"preset {' and '.join(presets)}"
    if held.state == "here":
        return Finding(held.spec, "ok", f"here, for {use}")
    return Finding(held.spec, "warn", f"not here; {use} needs it", f"{held.remedy}, or copy its cache (HF_HOME)")
