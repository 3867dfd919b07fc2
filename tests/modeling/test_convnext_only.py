"""The arm without a ViT: the language model reads the ConvNeXt's means, as many as it would read of a ViT's tokens, in the same order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.stage_runs import stages_of
from fila_lab.modeling import build_model

GRID, CHANNELS = 3, 20


@pytest.fixture
def convnext_only(make_config):
    return build_model(make_config("none", handoff="replace"))


def test_the_language_model_reads_as_much_as_of_a_vit(convnext_only, make_config, make_batch) -> None:
    batch, labels = make_batch()
    assert convnext_only.see(batch).shape == build_model(make_config("none")).see(batch).shape
    loss = convnext_only(batch, labels).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in [*convnext_only.projector.parameters(), *convnext_only.separator.parameters()])


def test_tokens_are_the_stage_4_means_of_their_own_windows(convnext_only, make_batch) -> None:
    """k = g: a cell a token. The overview's are means over the canvas; rows of the canvas end with the separator."""
    batch, _ = make_batch(images=1)
    cells = batch.maps[3][0]  # [C, 3, 6]
    tokens = [cells[:, row, 2 * col : 2 * col + 2].mean(-1) for row in range(GRID) for col in range(GRID)]
    seen = convnext_only.see(batch)[0]
    projected = convnext_only.projector(F.layer_norm(torch.stack(tokens), (CHANNELS,)))
    torch.testing.assert_close(seen[: GRID**2], projected, rtol=1e-4, atol=1e-5)
    canvas = convnext_only.projector(F.layer_norm(cells.permute(1, 2, 0), (CHANNELS,)))
    rows = seen[GRID**2 :].view(GRID, 2 * GRID + 1, -1)
    torch.testing.assert_close(rows[:, :-1], canvas, rtol=1e-4, atol=1e-5)
    assert torch.equal(rows[:, -1], convnext_only.separator.separator.expand(GRID, -1))


def test_no_vit_is_built_and_no_tile_is_looked_at(convnext_only, make_batch) -> None:
    batch, labels = make_batch()
    assert convnext_only.encoder.vit is None
    assert convnext_only.parts()["vit"] == []
    blank = replace(batch, tiles=torch.zeros_like(batch.tiles), overview=torch.zeros_like(batch.overview))
    assert torch.equal(convnext_only(batch, labels).logits, convnext_only(blank, labels).logits)
    convnext_only.encoder.compile_towers()  # of what there is
    assert len(convnext_only.generate(batch, max_new_tokens=2)) == 3


def test_an_answer_model_gives_what_it_has_but_its_projector() -> None:
    """Which reads tokens of the ViT's width: the ConvNeXt's are others, and theirs begins at random."""
    own, usual = (build_model(resolve_run("mini", {"fusion": {"name": "none", "handoff": handoff}})) for handoff in ("replace", "none"))
    assert torch.equal(own.separator.separator, usual.separator.separator)
    first = next(iter(own.language.state_dict()))
    assert torch.equal(own.language.state_dict()[first], usual.language.state_dict()[first])
    assert own.projector[0].weight.shape == (96, 96)


def test_what_has_nothing_to_act_on_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"fusion\.handoff = 'replace' .* fusion\.name = 'concat' has none to act on; set fusion\.name=none"
    ):
        resolve_run("mini", {"fusion.handoff": "replace"})
    with pytest.raises(ConfigError, match=r"set fusion\.handoff=none, or geometry\.vit_scale=1"):
        resolve_run("mini", {"fusion": {"name": "none", "handoff": "replace"}, "geometry.vit_scale": 2})
    stages = {"fusion": {"name": "none", "handoff": "replace"}, "train.stages": [{"name": "only", "trains": ["vit"], "steps": 2}]}
    with pytest.raises(ConfigError, match="this run has only convnext, projector, language"):
        resolve_run("mini", stages)
    both = resolve_run("mini", {**stages, "train.stages": [{"name": "only", "trains": ["vit", "projector"], "steps": 2}]})
    assert len(stages_of(both)) == 1


def test_controls_act_on_what_is_handed_over(make_config, make_batch) -> None:
    batch, _ = make_batch()
    usual = build_model(make_config("none", handoff="replace")).see(batch)
    for control in ("shifted", "random_window", "constant"):
        assert not torch.equal(build_model(make_config("none", handoff="replace", control=control)).see(batch), usual)
