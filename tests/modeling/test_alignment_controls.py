"""Controls of alignment: shifted, apart in training and in evaluation, and shuffled."""

from __future__ import annotations

import pytest
import torch

from fila_lab.modeling import HybridEncoder, build_convnext, build_vit
from fila_lab.modeling.detail import shuffled, spoil


def numbered(rows: int, cols: int) -> list[torch.Tensor]:
    """Four stage maps [1, 1, 8r, 8c] ... [1, 1, r, c] whose cells hold the number of the stage-4 cell they lie in."""
    number = torch.arange(rows * cols * 1.0).view(1, 1, rows, cols)
    return [number.repeat_interleave(n, 2).repeat_interleave(n, 3) for n in (8, 4, 2, 1)]


@pytest.mark.parametrize(("rows", "cols"), [(3, 6), (6, 3), (6, 6), (1, 2)])
def test_shuffled_moves_every_cell_with_what_is_in_it_alike_in_all_stages(rows: int, cols: int) -> None:
    maps = numbered(rows, cols)
    moved = spoil(maps, "shuffled", 0)
    places = moved[3].flatten()
    assert (places != maps[3].flatten()).all()
    assert torch.equal(places.sort().values, maps[3].flatten())
    for stage, n in enumerate((8, 4, 2)):
        assert torch.equal(moved[stage], moved[3].repeat_interleave(n, 2).repeat_interleave(n, 3))


def test_shuffled_keeps_the_inside_of_a_cell_and_is_the_same_for_every_item() -> None:
    detail = torch.randn(3, 2, 8, 12)
    moved = shuffled(detail, (2, 3))
    blocks = [m.unflatten(3, (3, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2) for m in (detail, moved)]
    source = [[bool(torch.equal(a, b)) for a in blocks[0][0]].index(True) for b in blocks[1][0]]
    assert sorted(source) == list(range(6))
    assert torch.equal(blocks[1], blocks[0][:, source])


def outputs(make_config, make_batch, training: bool, **fusion) -> torch.Tensor:
    config = make_config("concat", **fusion)
    model = HybridEncoder(config, build_vit(config), build_convnext(config)).train(training)
    torch.manual_seed(1)
    batch, _ = make_batch()
    with torch.no_grad():
        for parameter in model.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        return model(batch)


def test_training_and_evaluation_may_shift_by_different_distances(make_config, make_batch) -> None:
    right = outputs(make_config, make_batch, training=True)
    one = outputs(make_config, make_batch, training=True, control="shifted", shift=1)
    assert not torch.equal(right, one)
    for training in (True, False):
        assert torch.equal(outputs(make_config, make_batch, training, control="shifted", shift=0), right)
        assert torch.equal(outputs(make_config, make_batch, training, control="shifted", shift=1), one)
    assert torch.equal(outputs(make_config, make_batch, True, control="shifted", shift=0, eval_shift=1), right)
    assert torch.equal(outputs(make_config, make_batch, False, control="shifted", shift=0, eval_shift=1), one)
    assert torch.equal(outputs(make_config, make_batch, False, control="shifted", shift=1, eval_shift=0), right)
