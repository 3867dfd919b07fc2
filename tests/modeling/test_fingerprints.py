"""A run's weights are hashed once, as long as its files stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fila_lab.modeling import ConvNextTower, build_convnext, build_model, build_vit, fingerprints
from fila_lab.modeling.answers import save_answer_parts
from fila_lab.modeling.fingerprints import language_sha256, tower_sha256
from fila_lab.modeling.weights import save_weights, weights_sha256


def test_a_run_hashes_its_weights_once(make_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once a pool, nor once a seed; anew where the file is another one."""
    path, config = tmp_path / "convnext.safetensors", make_config()
    save_weights(ConvNextTower(config.convnext), path)
    config = config.model_copy(update={"convnext": config.convnext.model_copy(update={"weights": str(path)})})
    hashed = []
    monkeypatch.setattr(fingerprints, "_known", {})  # other tests have hashed the same towers
    monkeypatch.setattr(fingerprints, "weights_sha256", lambda tower: hashed.append(tower) or weights_sha256(tower))
    first = [tower_sha256(config.model_copy(update={"seed": seed}), "convnext") for seed in (0, 1, 0)]
    assert (set(first), len(hashed)) == ({weights_sha256(build_convnext(config))}, 1)
    save_weights(ConvNextTower(config.convnext), path)
    assert tower_sha256(config, "convnext") == weights_sha256(build_convnext(config)) != first[0]
    vit = build_vit(config)
    assert tower_sha256(config, "vit", vit) == weights_sha256(vit)
    assert len(hashed) == 3


def test_a_loaded_language_model_too(make_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.safetensors"
    save_answer_parts(build_model(make_config()).answer_parts, make_config().language, path)
    hashed = []
    monkeypatch.setattr(fingerprints, "weights_sha256", lambda module: hashed.append(module) or weights_sha256(module))
    models = [build_model(make_config(seed=seed, language={"weights": str(path)})) for seed in (0, 1)]
    found = {language_sha256(model.config, model.answer_parts) for model in models}
    assert (found, len(hashed)) == ({weights_sha256(models[1].answer_parts)}, 1)
    with torch.no_grad():
        models[0].language.lm_head.weight += 1
    save_answer_parts(models[0].answer_parts, make_config().language, path)
    other = build_model(make_config(language={"weights": str(path)}))
    assert language_sha256(other.config, other.answer_parts) == weights_sha256(other.answer_parts) not in found
