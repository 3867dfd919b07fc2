"""How a cell is computed: what goes together, what is part of its id, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.runtime_checks import check_installed, check_launched
from fila_lab.studies.identity import cell_id
from fila_lab.training.checkpoints import hyper_parameters

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
LORA = {"rank": 4, "alpha": 8}


def run(**fields: Any) -> RunConfig:
    return resolve_run(
        "mini", RANDOM | {"runtime.fused_optimizer": False}, {name.replace("__", "."): value for name, value in fields.items()}
    )


def test_new_fields_at_their_usual_values_leave_records_and_ids_as_they_were() -> None:
    usual = {"strategy": "auto", "nodes": 1, "fused_optimizer": False, "checkpoint_minutes": 5.0, "checkpoints_kept": 1}
    told = run(**{f"runtime__{name}": value for name, value in usual.items()}, language__lora=None)
    assert not usual.keys() & told.model_dump(mode="json")["runtime"].keys()
    assert "lora" not in told.model_dump(mode="json")["language"]
    assert usual.items() <= told.model_dump(mode="json", context={"whole": True})["runtime"].items()
    assert cell_id(told) == cell_id(run())


def test_what_can_change_a_result_is_in_the_id_and_how_often_it_is_saved_is_not() -> None:
    ways = [{"runtime__strategy": "fsdp"}, {"runtime__nodes": 2}, {"runtime__fused_optimizer": True}, {"language__lora": LORA}]
    assert len({cell_id(run(**way)) for way in ways} | {cell_id(run())}) == 1 + len(ways)
    often = run(runtime__checkpoint_minutes=0.5, runtime__checkpoints_kept=3)
    assert cell_id(often) == cell_id(run())
    assert hyper_parameters(often) == hyper_parameters(run()), "its checkpoints are the cell's all the same"
    again = RunConfig.model_validate(often.model_dump(mode="json"))
    assert again == often, "a process that is given the cell saves as often"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"precision": "fp16"}, "'fp16' trains on GPUs alone"),
        ({"strategy": "deepspeed"}, "'deepspeed' trains on GPUs alone"),
        ({"precision": "fp16", "accelerator": "gpu", "strategy": "fsdp"}, "'fsdp' cannot; set runtime.precision=bf16"),
        ({"precision": "fp16", "accelerator": "gpu", "fused_optimizer": True}, "set runtime.fused_optimizer=false"),
        ({"compile": True, "strategy": "fsdp", "devices": 2}, "runtime.compile=false"),
        ({"strategy": "zero"}, "strategy"),
        ({"nodes": 0}, "nodes"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes"),
        ({"checkpoints_kept": 0}, "checkpoints_kept"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(**{f"runtime__{name}": value for name, value in fields.items()})


def test_a_library_that_is_not_here_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fila_lab.config.runtime_checks.find_spec", lambda name: None)
    check_installed(run(runtime__strategy="ddp").runtime)
    with pytest.raises(ConfigError, match=r"pip install 'fila-lab\[deepspeed\]'"):
        check_installed(run(runtime__strategy="deepspeed", runtime__accelerator="gpu").runtime)


def test_compilation_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU what is looked for is a C compiler, which Triton calls."""
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    compiled, gpu = run(runtime__compile=True).runtime, run(runtime__compile=True, runtime__accelerator="gpu").runtime
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    check_installed(compiled)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/clang" if name == "clang" else None)
    check_installed(gpu)
    check_installed(run().runtime)
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler is here .*; install one, name it in CXX, or set runtime.compile=false"):
        check_installed(compiled)
    monkeypatch.setenv("CXX", "ccache clang")
    with pytest.raises(ConfigError, match="there is no C\\+\\+ compiler CXX='ccache clang'"):
        check_installed(compiled)
    monkeypatch.setenv("CXX", "clang -stdlib=libc++")
    check_installed(compiled)


def test_ranks_on_other_machines_are_a_launchers_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    check_launched(run().runtime)
    with pytest.raises(ConfigError, match="torchrun --nnodes 2 --nproc-per-node 4"):
        check_launched(run(runtime__nodes=2, runtime__devices=4).runtime)
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_launched(run(runtime__nodes=2, runtime__devices=4).runtime)


@pytest.mark.parametrize(
    ("fields", "shares"),
    [({}, "nothing"), ({"devices": 2}, "ddp"), ({"nodes": 2}, "ddp"), ({"strategy": "ddp"}, "ddp"), ({"strategy": "fsdp"}, "fsdp")],
)
def test_auto_is_ddp_where_there_are_several_devices(fields: dict[str, Any], shares: str) -> None:
    assert run(**{f"runtime__{name}": value for name, value in fields.items()}).runtime.shares == shares
