"""runtime.compile: what is compiled, how often, and how far its numbers are from plain ones."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from fila_lab.modeling import HybridEncoder, build_convnext, build_model, build_vit
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.regions import Regions
from fila_lab.modeling.vit import VitTower

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is here")


class Traced:
    """A backend that runs graphs as they were traced, and keeps them: the code generator is PyTorch's own, and slow on a small machine."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        self.graphs.append(graph)
        return graph


def randomised(module: torch.nn.Module, std: float = 0.3) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)


def changed(config: Any, **runtime: Any) -> Any:
    return config.model_copy(update={"runtime": config.runtime.model_copy(update=runtime)})


def test_layers_share_a_graph_whatever_the_canvas_and_hooks_act(make_config, make_batch) -> None:
    """Fusions lie between the layers, so leaving them out takes no other graph; names are a plain model's."""
    encoder = HybridEncoder(config := make_config("concat"), build_vit(config), None).requires_grad_(False)
    randomised(encoder.fusions)
    names, traced = list(encoder.state_dict()), Traced()
    batches = [make_batch(rows=rows, cols=cols)[0] for rows, cols in ((1, 2), (2, 2))]
    plain = [encoder(batch) for batch in batches]
    encoder.compile_towers(traced)
    for batch, tokens in zip(batches, plain, strict=True):
        assert torch.equal(encoder(batch), tokens)
    with encoder.around_fusion(lambda point, tokens, maps, fuse: tokens):
        assert not torch.equal(encoder(batches[0]), plain[0])
    assert len(traced.graphs) == 1
    assert list(encoder.state_dict()) == names


@pytest.mark.slow
def test_a_stage_is_one_graph_for_all_canvases(make_config) -> None:
    tower, traced = build_convnext(make_config()).requires_grad_(False), Traced()
    inputs = [torch.rand(2, 3, 96, 192), torch.rand(3, 3, 192, 192)]
    plain = [tower(pixels) for pixels in inputs]
    tower.regions = Regions(traced)
    for pixels, maps in zip(inputs, plain, strict=True):
        assert all(map(torch.equal, tower(pixels), maps))
    assert len(traced.graphs) == 4


@pytest.mark.parametrize("older", [False, True])
def test_each_attention_backend_and_each_model_has_graphs_of_its_own(make_config, monkeypatch: pytest.MonkeyPatch, older: bool) -> None:
    """torch does not see that the backend has changed, and would go on with the graph of another cell of the process. older: by a torch
    whose compile keeps no graphs apart."""
    if older:
        whole = torch.compile
        monkeypatch.setattr(
            torch,
            "compile",
            lambda model, *, fullgraph, dynamic, backend: whole(model, fullgraph=fullgraph, dynamic=dynamic, backend=backend),
        )
    traced, part = Traced(), torch.nn.Identity()
    for regions in (Regions(traced), Regions(traced)):
        for name in ("math", "flash", "math"):
            regions(part, torch.ones(2), name)
    assert len(traced.graphs) == 4
    tower, names = build_vit(make_config()), []
    tower.regions = lambda layer, tokens, name: names.append(name)
    for name in ("math", "flash"):
        with attention_backend(name):
            tower.block(0, torch.ones(2, 10, 32))
    assert names == ["math", "flash"]


@pytest.mark.parametrize("checkpointing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_training_through_graphs_gives_the_loss_and_gradients(make_config, make_batch, checkpointing: bool) -> None:
    batch, labels = make_batch(images=2)
    config = changed(make_config("concat"), checkpointing=checkpointing)
    model, traced = build_model(config), Traced()
    randomised(model.encoder.fusions)
    found = []
    for compiled in (False, True):
        if compiled:
            model.encoder.compile_towers(traced)
        model.zero_grad()
        loss = model(batch, labels).loss
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(map(torch.equal, *found))
    assert 0 < len(traced.graphs) <= 3, "before the first fusion and after it"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("trained", [False, True])
def test_compiled_code_is_as_near_to_exact_numbers_as_plain_code(make_config, trained: bool) -> None:
    """In float32 to 1e-5 of their size. In bfloat16 the two round at other places: against float32, compiled code is off by at most 1.2
    times what plain code is off by. Gradients alike; a ConvNeXt that trains is not compiled."""
    vit, convnext = build_vit(config := make_config()), build_convnext(config).to(memory_format=torch.channels_last)
    tiles, pixels = torch.randn(5, 3, 42, 42), torch.randn(2, 3, 96, 192).contiguous(memory_format=torch.channels_last)

    def results(tower: VitTower | ConvNextTower, given: Tensor, precision: str) -> list[Tensor]:
        tower.requires_grad_(trained).zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out = tower(given)
        outs = [out] if isinstance(out, Tensor) else out
        if trained:
            sum(each.float().square().mean() for each in outs).backward()  # type: ignore[union-attr]
        return [*(each.detach().float() for each in outs), *(p.grad for p in tower.parameters() if p.grad is not None)]

    for tower, given in ((vit, tiles), (convnext, pixels)):
        tower.regions = None
        exact, rounded = results(tower, given, "fp32"), results(tower, given, "bf16")
        tower.regions = Regions()
        same, other = results(tower, given, "fp32"), results(tower, given, "bf16")
        largest = max(wanted.norm() for wanted in exact)  # some gradients are zero, but for rounding
        for found, wanted in zip(same, exact, strict=True):
            assert (found - wanted).norm() <= 1e-5 * wanted.norm() + 1e-6 * largest
            assert not (trained and tower is convnext) or torch.equal(found, wanted)
        assert distance(other, exact) < 1.2 * distance(rounded, exact)


def distance(found: list[Tensor], exact: list[Tensor]) -> float:
    """Root mean square, over tensors that are not zero but for rounding, of how far each is off by its own size."""
    largest = max(b.norm() for b in exact)
    shares = [(a - b).norm() / b.norm() for a, b in zip(found, exact, strict=True) if b.norm() > 1e-4 * largest]
    return float(torch.stack(shares).square().mean().sqrt())


@pytest.mark.slow
@needs_compiler
def test_numbers_do_not_depend_on_what_was_compiled_before(make_config) -> None:
    """A cell that goes on after a cut sees canvases in another order: squares first, or strips."""
    tower = build_convnext(make_config()).requires_grad_(False).to(memory_format=torch.channels_last)
    shapes = ((2, 3, 96, 96), (1, 3, 96, 192), (3, 3, 192, 96))
    inputs = [torch.randn(shape).contiguous(memory_format=torch.channels_last) for shape in shapes]
    found = []
    for order in ((0, 1, 2), (2, 1, 0)):
        tower.regions, maps = Regions(), {}
        with torch.autocast("cpu", torch.bfloat16):
            for index in order:
                maps[index] = tower(inputs[index])
        found.append([each for index in range(3) for each in maps[index]])
    assert all(map(torch.equal, *found))
