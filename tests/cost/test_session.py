"""Measuring by component: every figure there or a reason, nothing measured twice, sums that add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fila_lab.config import ConfigError, FilaError, RunConfig, resolve_run
from fila_lab.config.counts import vision_tokens
from fila_lab.config.sizes import sized_runs
from fila_lab.cost import build_subject, passes, session, synthetic_batch
from fila_lab.cost import setting as setting_module
from fila_lab.cost.fit import fits
from fila_lab.cost.passes import see_seconds
from fila_lab.cost.probe import OTHER
from fila_lab.cost.setting import Setting
from fila_lab.cost.subject import build_vision
from fila_lab.cost.table import cost_table

HERE = Setting("cpu", "fp32", 1)
ROUNDS = 2


def tiny(**overrides: object) -> RunConfig:
    return resolve_run("mini", {"geometry.canvases": [[42, 84], [84, 84]]}, overrides)


def runs(sizes: Any = ((42, 84),)) -> Any:
    return sized_runs({"none": tiny(**{"fusion.name": "none"}), "concat": tiny()}, sizes, None)


def quiet(line: str) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("costs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "SIDE", 64)
        patch.setattr(session, "measured_afresh", lambda what, configs, **_: {"it": PEAKS if what == "seeing" else "killed"})
        session.measure(runs(), HERE, out, rounds=ROUNDS, memory=True, report=quiet)
    return out


PEAKS = {
    **dict.fromkeys(("vit", "convnext", "projector", "other"), 2.0),
    **{f"fusion point {stage}->{layer}": 3.0 for stage, layer in ((1, 1), (2, 2), (3, 3), (4, 5))},
}


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return cost_table(session.open_state(folder))


def test_every_figure_is_there_or_says_why_not(frame: pd.DataFrame) -> None:
    for column, basis in (("latency_ms", "latency_basis"), ("peak_memory_mib", "memory_basis")):
        missing = frame[column].isna()
        assert frame.loc[missing, basis].str.startswith("not measured: ").all()
        assert not frame.loc[~missing, basis].str.startswith("not measured").any()
    assert frame.loc[frame["component"] == "language prefill", "memory_basis"].str.contains("killed").all()
    assert (frame["rounds"] == ROUNDS).all()
    assert (frame.loc[frame["flops"] > 0, "share_of_matmul_peak"] > 0).all()


def test_counted_flops_are_the_closed_form_in_every_row(frame: pd.DataFrame) -> None:
    assert (frame["flops"] == frame["closed_form_flops"]).all()


def test_sums_are_those_of_their_components(frame: pd.DataFrame) -> None:
    for _, case in frame.groupby(["arm", "canvas"]):
        by = case.set_index("component")
        inside = [name for name in by.index if name in ("vit", "convnext", OTHER) or name.startswith("fusion point")]
        for column in ("parameters", "trainable_parameters", "flops", "training_flops", "kept_bytes"):
            assert by.loc["encoder", column] == by.loc[inside, column].sum()
            assert by.loc["whole", column] == by.loc[["encoder", "projector", "language prefill"], column].sum()
        assert by.loc["encoder", "peak_memory_mib"] == by.loc[inside, "peak_memory_mib"].max()
        assert by.loc["encoder", "latency_ms"] >= by.loc["vit", "latency_ms"]


def test_tokens_are_what_the_model_hands_over() -> None:
    config = tiny()
    tokens = build_subject(config).see(synthetic_batch(config, 1)).shape[1]
    assert tokens == vision_tokens((84, 84), config)


def test_a_pass_is_its_components_and_what_lies_between() -> None:
    config = HERE.applied(tiny())
    model, batch = build_vision(config, {}), synthetic_batch(config, 2)
    before = dict(vars(model.encoder))
    seconds = see_seconds(model, batch, config)
    assert list(seconds) == ["convnext", "vit", *(f"fusion point {s}->{n}" for s, n in model.encoder.fusion_points), "projector", OTHER]
    assert all(value > 0 for value in seconds.values())
    assert vars(model.encoder) == before  # nothing of the probe is left


def test_what_is_measured_is_not_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    before = json.loads((folder / session.STATE).read_text(encoding="utf-8"))
    for name in ("build_vision", "measured_afresh", "count_vision", "count_language"):
        monkeypatch.setattr(session, name, never)
    session.measure(runs(), HERE, folder, rounds=ROUNDS, memory=True, report=quiet)
    assert json.loads((folder / session.STATE).read_text(encoding="utf-8")) == before


def test_figures_of_other_code_are_not_mixed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "measuring_code", lambda: "other")
    with pytest.raises(FilaError, match="figures of other code"):
        session.open_state(folder)


def test_a_model_that_does_not_fit_is_measured_by_one_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.psutil, "virtual_memory", lambda: type("Little", (), {"available": 2.5e6 * 2}))
    monkeypatch.setattr(session, "seeing_bytes", lambda config: 0)
    monkeypatch.setattr(passes, "SIDE", 64)
    deep = sized_runs({"none": tiny(**{"fusion.name": "none", "language.layers": 8, "language.weights": "random"})}, [(42, 84)], None)
    session.measure(deep, HERE, tmp_path, rounds=1, memory=False, report=quiet)
    table = cost_table(session.open_state(tmp_path)).set_index("component")
    assert set(table.loc[["language prefill", "whole"], "latency_basis"]) == {"measured, language model as one layer x 8"}
    assert table.loc["vit", "latency_basis"] == "measured"


def test_a_size_that_cannot_fit_is_one_message(tmp_path: Path) -> None:
    huge = sized_runs({"concat": resolve_run("paper")}, [(336 * 40, 336 * 40)], [12])
    with pytest.raises(ConfigError, match=r"concat 13440x13440 k=12: needs about \d+\.\d GiB, .* choose smaller --sizes"):
        session.measure(huge, HERE, tmp_path, rounds=1, memory=False, report=quiet)


def test_a_line_is_found_again() -> None:
    flops = np.array([1e9, 2e9, 4e9])
    table = pd.DataFrame(
        {
            "arm": "concat", "component": "vit", "precision": "fp32", "threads": 1, "device": "it", "flops": flops,
            "latency_ms": 5 + flops / 1e8, "matmul_flops_per_second": 4e11,
        }
    )  # fmt: skip
    row = fits(table).iloc[0]
    assert (row["a_ms"], row["flops_per_second"]) == pytest.approx((5, 1e11))
    assert row["share_of_matmul_peak"] == pytest.approx(0.25)
    assert row["r_squared"] == pytest.approx(1)
    assert fits(table.head(2)).empty  # a line through two points says nothing


def test_arms_are_fitted_together_only_where_they_do_the_same_work() -> None:
    flops = [1e9, 2e9, 4e9]
    setting = {"precision": "fp32", "threads": 1, "device": "it", "matmul_flops_per_second": 4e11}
    table = pd.DataFrame(
        [
            {"arm": arm, "component": component, "flops": work, "latency_ms": work / (1e8 if arm == "concat" else 2e8), **setting}
            for arm in ("concat", "addition")
            for component in ("vit", "encoder", "fusion point 1->2")
            for work in flops
        ]
    )
    found = fits(table).set_index(["arm", "component"])["flops_per_second"]
    assert set(found.index) == {("all", "vit"), *((a, c) for a in ("concat", "addition") for c in ("encoder", "fusion point 1->2"))}
    assert found["addition", "encoder"] == pytest.approx(2 * found["concat", "encoder"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"device": "cuda"}, "sees no CUDA device here; use --device cpu"),
        ({"device": "gpu"}, "--device 'gpu' is unknown"),
        ({"precision": "fp16"}, "--precision 'fp16' is for GPUs"),
        ({"threads": 0}, "--threads 0"),
        ({"threads": 4096}, "choose 1 to"),
    ],
)
def test_a_setting_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(setting_module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=words):
        Setting(**{"threads": 1, **wrong})


def test_a_precision_the_device_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on a GPU without it; on a CPU it is emulated, so a warning that it is slow."""
    monkeypatch.setattr(setting_module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(setting_module.torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(setting_module.torch.cuda, "get_device_name", lambda: "Old GPU")
    with pytest.raises(ConfigError, match="Old GPU has no bfloat16; use --precision fp32"):
        Setting("cuda", "bf16", 1)
    monkeypatch.setattr(setting_module, "fast_bf16", lambda: False)
    assert "slower than float32" in (Setting("cpu", "bf16", 1).warning or "")
    assert Setting("cpu", "fp32", 1).warning is None
