"""The second loss, for a ceiling: tokens learn to say what they show, in the embedding that the language model understands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny

from fila_lab.config import ConfigError, FilaError, RunConfig
from fila_lab.config.geometry import TilingConfig
from fila_lab.data.seam.truth import TRUTH
from fila_lab.modeling import build_model
from fila_lab.modeling.answers import Truth, save_answer_parts, unexplained
from fila_lab.training import run_cell
from fila_lab.training.batches import Collator
from fila_lab.training.data import open_data
from fila_lab.training.module import FilaModule


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of untrained answer parts with an embedding of the truth."""
    path = tmp_path_factory.mktemp("answers") / "tiny_answers.safetensors"
    config = tiny()
    save_answer_parts(build_model(config).answer_parts, config.language, path, {"truth": Truth(4 * TRUTH, config.language.width)})
    return str(path)


def ceiling(answers: str, **more: object) -> RunConfig:
    return tiny(fusion__name="concat", fusion__control="oracle_map", language__weights=answers, train__truth_weight=4.0, **more)


def test_the_loss_is_the_answers_and_the_weighted_unexplained_share(answers: str, cache_dir: Path) -> None:
    config = ceiling(answers)
    module = FilaModule.from_config(config)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    pool = open_data(config, cache_dir, ("train",))["train"]
    rows = np.flatnonzero(pool.meta["canvas"].to_numpy() == pool.meta["canvas"].iloc[0])[:4]
    batch = Collator(config, pool, None, module.model.tokenizer)(rows, training=True)
    output = module.model(batch.vision, batch.labels)
    assert batch.truth is not None
    assert module.truth is not None
    share = unexplained(output.projected, module.truth(batch.truth.float()))
    loss = module.training_step(batch, 0)
    assert torch.allclose(loss, output.loss + 4 * share)
    share.backward()
    assert all(fusion.out.weight.grad.abs().sum() > 0 for fusion in module.model.encoder.fusions.values())
    assert not any(parameter.requires_grad for parameter in module.truth.parameters())
    assert Collator(config, pool, None, module.model.tokenizer)(rows, training=False).truth is None


def test_unexplained_is_nothing_for_the_thing_itself_and_all_for_its_mean() -> None:
    wanted = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    assert unexplained(wanted, wanted) == 0
    assert torch.isclose(unexplained(wanted.flatten(0, 1).mean(0).expand_as(wanted), wanted), torch.tensor(1.0))


def test_a_cell_trains_with_it(answers: str, cache_dir: Path, tmp_path: Path) -> None:
    outcome = run_cell(ceiling(answers, language__trainable=False), workdir=tmp_path, cache_dir=cache_dir)
    assert outcome.result["failure"] is None
    assert outcome.result["metrics"]["exact/reading"] >= 0


def test_an_answer_model_without_the_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.truth_weight = 4 .*language\.weights = 'random'"):
        tiny(train__truth_weight=4.0)
    without = tmp_path / "older_answers.safetensors"
    save_answer_parts(build_model(tiny()).answer_parts, tiny().language, without)
    with pytest.raises(FilaError, match="holds no embedding of the truth"):
        FilaModule.from_config(ceiling(str(without)))


def test_tokens_that_are_not_the_canvas_own_are_refused(answers: str, cache_dir: Path) -> None:
    for tiling in ({"overlap": 1}, {"perspective": "strided"}, {"second": {}}, {"canvases": [[84, 84]]}):
        with pytest.raises(ConfigError, match=r"train\.truth_weight = 4 needs tiles side by side .* set them back, or truth_weight=0"):
            ceiling(answers, geometry__tiling=tiling)
    config = ceiling(answers)
    config = config.model_copy(update={"geometry": config.geometry.model_copy(update={"tiling": TilingConfig(overlap=1)})})
    pool = open_data(config, cache_dir, ("train",))["train"]
    with pytest.raises(FilaError, match=r"train\.truth_weight needs tiles side by side"):
        Collator(config, pool, None, FilaModule.from_config(config).model.tokenizer)
