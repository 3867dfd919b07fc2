"""The benchmarks on `mini`: what they compare computes what it should, and the command writes what it measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import typer

from benchmarks import gpu
from benchmarks.__main__ import chosen, main
from benchmarks.arrangements import ARRANGEMENTS, TileLoop, UpsampleAndWindow
from benchmarks.files import WARM_UP, Waiting, files_config, read_through, waiting, write_index
from benchmarks.generation import BY_LENGTH, OURS, Prompts, generation_speeds
from benchmarks.gpu_training import BareStep, Step, lack
from benchmarks.lines import Line, rows
from benchmarks.memory import grown_gib
from benchmarks.preparation import ALL, TILES, picture, preparation_ratios, processor
from benchmarks.real_path import WARM_UP as WARM_UP_STEPS
from benchmarks.real_path import measure, staged_config
from benchmarks.scene import Scene, benchmark_config
from benchmarks.subjects import BARE, RIVALS, subject, towers_of
from benchmarks.timing import Rounds, count
from benchmarks.training import STEPS, training_config, training_speeds
from fila_lab.config import FilaError, resolve_run
from fila_lab.config.counts import detail_size
from fila_lab.cost.closed.fusion import fusion_point_costs
from fila_lab.cost.closed.memory import memory_parts
from fila_lab.cost.closed.parts import convnext_cost, vit_cost
from fila_lab.data.seam.export import export
from fila_lab.imaging import prepare


@pytest.fixture(scope="module")
def scene() -> Scene:
    torch.set_num_threads(1)
    return Scene.build(benchmark_config("mini"))


@pytest.fixture(scope="module")
def bare(scene: Scene) -> dict[str, int]:
    """FLOPs of the bare calls."""
    return {name: count(subject(scene, name)) for name in BARE}


def canvas_order(tiles: torch.Tensor, scene: Scene) -> torch.Tensor:
    """[1 + rows*cols, g*g, D] -> the encoder's order of tokens."""
    g = scene.config.geometry.grid
    inside = tiles[1:].view(scene.rows, scene.cols, g, g, -1).transpose(1, 2).flatten(0, 3)
    return torch.cat([tiles[0], inside])


@torch.no_grad()
def test_bare_calls_do_the_towers_work(scene: Scene) -> None:
    """open_clip's and timm's own forward on the shared weights give what the towers inside the encoder give."""
    own = scene.encode(scene.encoder("none"))[0]
    last = scene.vit.trunk.ln_post(scene.bare_vit())  # `mini` takes the last layer's tokens, which pass the final norm
    torch.testing.assert_close(own, canvas_order(last, scene), rtol=1e-4, atol=1e-4)
    for bare, tower in zip(scene.bare_convnext(), scene.convnext(scene.detail), strict=True):
        torch.testing.assert_close(bare, tower)


@torch.no_grad()
def test_one_tile_at_a_time_gives_the_arm_s_tokens(scene: Scene) -> None:
    loop = TileLoop(scene)
    torch.manual_seed(0)
    for parameter in loop.encoder.fusions.parameters():
        parameter.normal_(std=0.2)
    torch.testing.assert_close(canvas_order(loop(scene), scene), scene.encode(loop.encoder)[0], rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_arrangements_give_as_many_tokens(scene: Scene, name: str) -> None:
    out = subject(scene, name).call()
    assert out.shape == (5, 9, 96)
    assert out.isfinite().all()


def test_the_upsampling_arrangement_has_mini_geminis_size() -> None:
    """REFERENCES: MGM's adapter at 1024 / 2880 has 6,963,456 parameters."""
    with torch.device("meta"):
        config = benchmark_config("paper")
        arrangement = UpsampleAndWindow(Scene(config, *[None] * 3, (672, 672)))  # type: ignore[arg-type]
    assert sum(p.numel() for p in arrangement.parameters()) == 6_963_456


def test_flops_are_those_of_the_closed_forms(scene: Scene, bare: dict[str, int]) -> None:
    counted = bare | {name: count(subject(scene, name)) for name in ("concat", "cross_attention")}
    config = scene.config
    expected = {
        "bare ViT": 5 * vit_cost(config.vit, config.geometry).flops,
        "bare ConvNeXt": convnext_cost(config.convnext, detail_size(scene.canvas, config.geometry)).flops,
    }
    for arm in ("concat", "cross_attention"):
        fused = config.model_copy(update={"fusion": config.fusion.model_copy(update={"name": arm})})
        expected[arm] = sum(expected[name] for name in BARE) + sum(cost.flops for cost in fusion_point_costs(fused, scene.canvas).values())
    for name, flops in counted.items():
        assert flops == pytest.approx(expected[name], rel=0.02), name


SOME = ("cross_tile", "slice_restore, reach tile", "convnext_only")
"""A rival that looks across, a twin, and the one without a ViT."""


@pytest.mark.parametrize("name", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in RIVALS])
def test_rivals_have_one_tower_and_their_fusions_flops_beside_it(scene: Scene, bare: dict[str, int], name: str) -> None:
    fields = RIVALS[name]
    fusion = scene.config.fusion.model_copy(update={"name": fields["arm"], **{k: v for k, v in fields.items() if k != "arm"}})
    config = scene.config.model_copy(update={"fusion": fusion})
    expected = sum(bare[tower] for tower in towers_of(name))
    expected += sum(cost.flops for cost in fusion_point_costs(config, scene.canvas).values())
    assert count(subject(scene, name)) == expected


@torch.no_grad()
def test_counting_leaves_real_tensors_behind() -> None:
    """FLOPs are counted on shapes alone; nothing that a call keeps may be made meanwhile, or its clock would time no work at all."""
    scene = Scene.build(benchmark_config("mini"))
    for name in (*BARE, "none", "concat"):
        count(subject(scene, name))
    assert torch.stack([scene.bare_vit().abs().sum(), *(stage.abs().sum() for stage in scene.bare_convnext())]).tolist()


def test_a_call_faster_than_the_machine_is_refused() -> None:
    rounds = Rounds({"bare ViT": [0.1], "bare ConvNeXt": [3.0]}, {"bare ViT": [0], "bare ConvNeXt": [0]})
    with pytest.raises(FilaError, match=r"'bare ViT' took 0.1 s, 0.20 of what its FLOPs take"):
        rows(rounds, {"bare ViT": 100, "bare ConvNeXt": 300}, peak=200.0)


def test_ratios_are_taken_within_a_round() -> None:
    """A machine twice as slow in the second round changes no ratio; fusion is counted apart from the towers."""
    rounds = Rounds(
        {"bare ViT": [1.0, 2.0], "bare ConvNeXt": [3.0, 6.0], "none": [1.1, 2.2], "concat": [5.0, 10.0]},
        {"bare ViT": [0, 0], "bare ConvNeXt": [0, 0], "none": [0, 0], "concat": [0.5, 1.0]},
    )
    vit, convnext, none, concat = rows(rounds, {"bare ViT": 100, "bare ConvNeXt": 300, "none": 100, "concat": 440}, peak=200.0)
    assert (vit.ratio, convnext.ratio) == (1, 1)
    assert none.ratio == pytest.approx(1.1)
    assert concat.ratio == concat.low == concat.high == pytest.approx(1.25)
    assert concat.towers == pytest.approx(4 / 4.5)
    assert concat.added == pytest.approx(0.5 / 4.5)
    assert concat.flops_added == pytest.approx(0.1)
    assert concat.floor == pytest.approx(7.5 * 200 / 440)
    assert [line.met for line in concat.lines("bf16")] == [False, False, True]
    assert [line.met for line in none.lines("bf16")] == [False, False]
    assert str(Line("a", "bf16", "time", 1.0, 1.05)) == "meets: time 1.000 <= 1.05"


def test_a_compiled_arm_is_held_against_the_bare_eager_calls() -> None:
    rounds = Rounds(
        {"bare ViT": [1.0], "bare ConvNeXt": [3.0], "concat": [4.2], "concat, compiled": [3.2], "none, compiled": [0.9]},
        {"bare ViT": [0], "bare ConvNeXt": [0], "concat": [0.2], "concat, compiled": [0.2], "none, compiled": [0]},
    )
    flops = {"bare ViT": 100, "bare ConvNeXt": 300, "concat": 420, "concat, compiled": 420, "none, compiled": 100}
    *_, concat, none = rows(rounds, flops, peak=110.0)
    assert concat.ratio == pytest.approx(0.8)
    assert [(line.limit, line.met) for line in concat.lines("bf16")] == [(0.82, True)]
    assert not concat.lines("fp32") + none.lines("bf16")
    assert none.ratio == pytest.approx(0.9)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is here")
@torch.inference_mode()
def test_compiled_towers_see_what_the_scene_s_see(scene: Scene) -> None:
    plain, compiled = (scene.encode(one.encoder("concat")) for one in (scene, scene.compiled))
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_step_through_the_real_path_is_held_against_a_bare_one(tmp_path: Path) -> None:
    config = staged_config(tmp_path / "pages", "concat", WARM_UP_STEPS + 2, 0)
    export(config.data.seam, config.geometry, "train", 40, tmp_path / "pages")
    found = measure(config, tmp_path, 1)
    assert list(found) == ["align", "instruct"]
    assert all(own["ratio"] == [own["real"][0] / own["bare"][0]] for own in found.values())


def test_memory_grows_with_what_is_kept() -> None:
    assert 0 <= grown_gib("bare", "mini", "fp32") < 1


def test_training_speeds_are_relative_to_none() -> None:
    configs = {arm: training_config("mini", arm, "bf16", "math", batch_size=2) for arm in ("none", "concat")}
    ticks: list[str] = []
    speeds = training_speeds(configs, 1, ticks.append)
    assert speeds["none"]["ratio"] == 1
    assert 0 < speeds["concat"]["ratio"] < 1.5
    assert ticks == ["training concat", "training none", "training none", "training concat"]
    assert STEPS > 1


@pytest.mark.slow
def test_the_command_measures_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = ["none", "cross_attention", "slice_restore, reach tile", "convnext_only", "upsample and window"]
    main(tmp_path, preset="mini", rounds=1, threads=1, only=only, compiled=False, memory=False, profile=True)
    record = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert set(record["rows"]) == {"fp32", "bf16"}
    for found in record["rows"].values():
        assert [row["name"] for row in found] == [*BARE, *only]
        assert all(row["ratio"] > 0 and row["floor"] > 0 for row in found)
    assert {line["arm"] for line in record["lines"]} == set(only[:2])
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert record["machine"]["processor"] in page
    assert record["date"] in page
    assert "| cross_attention |" in page
    assert "cross_attention, bf16: " in capsys.readouterr().out


def test_an_unknown_name_is_refused_with_its_nearest_neighbour() -> None:
    with pytest.raises(FilaError, match="did you mean 'concat'"):
        chosen(["concatt"])


@pytest.mark.parametrize("ended", [True, False])
def test_three_ways_of_generating_give_the_same_answers_and_two_ratios(ended: bool) -> None:
    torch.set_num_threads(1)
    prompts = Prompts.drawn(resolve_run("mini", {"fusion.name": "none"}), 6, 5, ended)
    prompts.prepare()
    assert len(prompts.lengths.unique()) > 1
    with torch.inference_mode():
        answers = prompts.ours()
        assert prompts.library() == prompts.by_length() == answers
    assert ended or {len(ids) for ids in answers} == {5}
    assert set(generation_speeds(prompts, "bf16", 1)) == {OURS, BY_LENGTH}


def test_an_images_preparation_is_compared_with_the_library_that_does_the_same() -> None:
    config = resolve_run("paper").geometry
    image = picture(200, 160)
    theirs = processor(config)(image, return_tensors="pt")["pixel_values"]
    assert theirs.shape[1] == 1 + prepare(image, config).geometry.tiles
    assert set(preparation_ratios(config, image, 1)) == {TILES, ALL}


def test_files_are_read_through_and_waits_are_told_from_steps(tmp_path: Path) -> None:
    index = write_index(tmp_path, 60, 3)
    memory = read_through(index, tmp_path / "cache")
    assert memory["rows"] == 60
    assert memory["late_mib"] > 100
    waits = Waiting([0] * 3)  # type: ignore[arg-type]
    waits.waited, waits.stepped = [9.0] * WARM_UP + [1.0] * 3, [9.0] * WARM_UP + [3.0] * 2
    assert waits.share == pytest.approx(0.25)


@pytest.mark.slow
def test_a_fit_on_files_is_timed(tmp_path: Path) -> None:
    index = write_index(tmp_path, 60, 20)
    fit = waiting(files_config(index, "none", WARM_UP + 4, 0), tmp_path)
    assert len(fit.stepped) >= WARM_UP + 3
    assert 0 < fit.share < 1


def test_what_a_gpu_is_measured_by_runs_on_a_cpu_too() -> None:
    """Never run on a GPU here, so at least run; nothing is asked of a hub, whatever tokenizer the preset names; the bare step trains the
    language model over as many tokens."""
    torch.set_num_threads(1)
    absent = {"language.tokenizer": "no/such", "language.weights": "no/such"}
    config = resolve_run("mini", gpu.UNLOADED, absent, {"language.answer_tokens": 4})
    rows, left_out = gpu.measure(gpu.Setting(config, "fp32", 1, 2, "cpu"))
    arms = (gpu.BARE, *gpu.ARMS)
    wanted = [("encoder", arms), ("training step", arms), ("generation", (gpu.BARE, "ours"))]
    assert [(row.section, row.name) for row in rows] == [(section, name) for section, names in wanted for name in names]
    assert not left_out
    assert all(row.ratio == 1 for row in rows if row.name == gpu.BARE)
    assert all(0 < row.least <= row.milliseconds <= row.most for row in rows)
    step = BareStep(config, 2, "cpu")
    step.step()
    assert all(value.grad is not None for value in step.trained)


def test_what_a_step_holds_is_the_state_of_the_closed_form() -> None:
    """Weights, gradients and moments; what does not fit is said with its remedy."""
    torch.set_num_threads(1)
    config = benchmark_config("mini")
    step = Step(config.model_copy(update={"runtime": config.runtime.model_copy(update={"precision": "fp32"})}), 2, "cpu")
    step.step()
    state = sum(part.state for part in memory_parts(step.config).values())
    assert step.held_gib() * 2**30 == pytest.approx(state, rel=0.02)
    assert lack([config], 2, 2**30) is None
    assert "3 models beside each other need about" in (why := lack([resolve_run("paper")] * 3, 1, 78 * 2**30) or "")
    assert "78 GiB are free; of one, the language model alone takes" in why
    assert "language.lora" in why


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here, to be measured")
def test_without_a_gpu_it_is_said_that_nothing_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stop:
        gpu.main(tmp_path)
    assert stop.value.exit_code == 2
    assert "no CUDA device here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
