"""geometry.whole_image: a detail input of fixed size, whatever the canvas. There is no k then, and nothing reads one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.strategies import FUSIONS, fuses_detail
from fila_lab.cost import synthetic_batch
from fila_lab.cost.closed.components import component_costs
from fila_lab.cost.count import flops_of
from fila_lab.modeling import build_model

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
PLAIN = {"runtime.precision": "fp32", "runtime.attention": "math"}


def run(**overrides):
    return resolve_run("mini", RANDOM, {"geometry.whole_image": 192, **overrides})


@pytest.mark.parametrize("k", [1, 2, 3, 7, 24])
def test_k_is_no_field_of_such_a_run(k: int) -> None:
    config = run(**{"geometry.detail_cells": k})
    assert config == run()
    assert config.geometry.detail_cells is None
    assert config.geometry.cells_a_side == 6
    again = GeometryConfig.model_validate(config.geometry.model_dump(mode="json"))
    assert again == config.geometry
    with pytest.raises(ConfigError, match="detail_cells is not set"):
        resolve_run("mini", {"geometry.detail_cells": None})
    assert (
        resolve_run("mini", {"geometry.whole_image": 192}, {"geometry.whole_image": None, "geometry.detail_cells": 4}).geometry.detail_cells
        == 4
    )


@pytest.mark.parametrize("name", [name for name in FUSIONS if fuses_detail(FusionConfig(name=name))])
def test_every_strategy_reads_every_canvas_by_the_same_windows(name: str) -> None:
    """The same run whatever k was before, so the same parameters and tokens; closed forms count what is built and done."""
    config, *others = (run(**{"fusion.name": name, "geometry.detail_cells": k, **PLAIN}) for k in (1, 3, 4))
    assert others == [config, config]
    model = build_model(config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for canvas in config.geometry.canvases:
            batch = synthetic_batch(config, 2, canvas)
            seen = model.see(batch)
            assert seen.isfinite().all()
            changed = replace(batch, detail=batch.detail.flip(2))
            assert not torch.equal(model.see(changed), seen), "the detail input is read"
    costs = component_costs(config, (84, 84))
    assert sum(cost.parameters for cost in costs.values()) == sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        assert flops_of(lambda: model(synthetic_batch(config, 1, (84, 84)))) == sum(cost.flops for cost in costs.values())


def test_the_plan_refuses_what_does_not_split_into_the_tiles_of_some_canvas() -> None:
    with pytest.raises(ConfigError, match=r"whole_image=96 gives 3 stage-4 cells a side, .* into 2x2 tiles; choose a multiple of 192"):
        resolve_run("mini", RANDOM, {"geometry.whole_image": 96, "geometry.canvases": [[84, 84], [126, 42]]})
    resolve_run("mini", RANDOM, {"geometry.whole_image": 96, "geometry.canvases": [[42, 42], [126, 42]]})
