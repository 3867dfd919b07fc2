"""The control `blank`: a fusion's parameters and nothing to look at, so that what they alone are worth can be measured."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fila_lab.config.strategies import has_convnext
from fila_lab.cost.closed.components import component_costs
from fila_lab.modeling import build_model


def fused(config, batch):
    """Tokens of a model whose zero factors have been taken away, from its own start."""
    model = build_model(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.encoder(batch)


@pytest.mark.parametrize("name", ["concat", "addition", "cross_attention"])
def test_nothing_but_the_map_is_missing(make_config, name: str) -> None:
    """The parameters that train, and their start, are the fusion's own; a ConvNeXt is neither built nor counted."""
    whole, blank = (build_model(make_config(name, control=control, seed=3)) for control in (None, "blank"))
    assert blank.encoder.convnext is None
    assert not has_convnext(blank.config)
    assert component_costs(blank.config)["convnext"].flops == 0
    own = dict(blank.named_parameters())
    trained = {key: value for key, value in whole.named_parameters() if value.requires_grad}
    assert trained.keys() == {key for key, value in own.items() if value.requires_grad}
    assert all(torch.equal(value, own[key]) for key, value in trained.items())


def test_no_page_gets_in(make_config, make_batch) -> None:
    """Tokens are the same whatever the detail branch would have seen, and every cell of every page is the same, in all runs."""
    batch, _ = make_batch()
    other = dataclasses.replace(batch, maps=None, oracle=None)
    config = make_config("cross_attention", control="blank")
    assert torch.equal(fused(config, batch), fused(config, other))
    first, again = (build_model(make_config(control="blank", seed=seed)).encoder.detail_maps(other) for seed in (0, 7))
    for one, two, channels in zip(first.maps, again.maps, (8, 12, 16, 20), strict=True):
        cells = one.flatten(2).transpose(1, 2).flatten(0, 1)
        assert cells.shape[1] == channels
        assert (cells == cells[0]).all()
        assert torch.equal(one, two)


def test_every_parameter_trains(make_config, make_batch) -> None:
    """Weights that read the map too: zeros would have left them where they were."""
    batch, labels = make_batch()
    model = build_model(make_config("concat", control="blank"))
    start = {name: value.detach().clone() for name, value in model.encoder.fusions.named_parameters()}
    optimiser = torch.optim.AdamW(model.encoder.fusions.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(3):
        optimiser.zero_grad()
        model(batch, labels).loss.backward()
        optimiser.step()
    assert [name for name, value in model.encoder.fusions.named_parameters() if torch.equal(value, start[name])] == []
