"""The engine of a cluster: what is its alone. What every engine must do, it does with the others (test_runner, test_kills, ...)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from thin_study import Bench, quality

from fila_lab.config import ConfigError, FilaError, MachineError, RunConfig, load_study, resolve_run
from fila_lab.studies import make_plan, study_status
from fila_lab.studies.engines import CellResources, Finished, Progress, Started, Undone, Warned, ray_engine
from fila_lab.studies.engines.base import Job, call
from fila_lab.studies.engines.cluster import Cluster, wanted_address
from fila_lab.studies.engines.loss import Loss
from fila_lab.studies.engines.messages import EVENTS, PROGRESS
from fila_lab.studies.engines.ray_node import Mailbox, Post
from fila_lab.studies.options import Options

HERE = Path(__file__).parent
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
Log = Callable[[], list[str]]


def config(**runtime: Any) -> RunConfig:
    return resolve_run("mini", RANDOM, {f"runtime.{name}": value for name, value in runtime.items()})


# What can be said without Ray ---------------------------------------------------------------------------------------------


def test_ray_is_asked_for_by_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FilaError, match=r"pip install 'fila_lab\[ray\]'"):
        bench.run(engine="ray")


def test_a_cells_share_is_its_runtimes_threads_and_devices_unless_said() -> None:
    free = CellResources()
    one, several = free.of(config(threads=3)), free.of(config(accelerator="gpu", devices=4, threads=2))
    assert (one.cpus, one.gpus, one.memory) == (3, 0, None)
    assert (several.cpus, several.gpus) == (8, 4), "one task, so all devices are on one node"
    assert free.of(config(threads=2), processes=3).cpus == 6
    said = CellResources(cpus=2, gpus=0.5, memory_gib=1.5).of(config(accelerator="gpu"))
    assert (said.cpus, said.gpus, said.memory) == (2, 0.5, 1.5 * 2**30)


@pytest.mark.parametrize(
    ("share", "runtime", "words"),
    [
        ({"cpus": 0}, {}, "--cell-cpus = 0"),
        ({"memory_gib": -1}, {}, "--cell-memory = -1"),
        ({"gpus": 1}, {}, "--cell-gpus = 1: the study's cells compute on CPUs"),
        ({"gpus": 0}, {"accelerator": "gpu"}, "--cell-gpus = 0: give a share between 0 and 1, or whole GPUs"),
        ({"gpus": float("inf")}, {"accelerator": "gpu"}, "--cell-gpus = inf"),
        ({"gpus": 1.5}, {"accelerator": "gpu"}, "--cell-gpus = 1.5"),
        ({"gpus": 0.5}, {"accelerator": "gpu", "devices": 2}, "at least runtime.devices = 2 whole GPUs"),
        ({"gpus": 1}, {"accelerator": "gpu", "devices": 2}, "at least runtime.devices = 2 whole GPUs"),
    ],
)
def test_a_share_on_which_no_cell_can_run_is_refused(share: dict[str, float], runtime: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        Options(engine="ray", cell=CellResources(**share)).check([config(**runtime)])


@pytest.mark.parametrize("address", ["somewhere", "ray://head", "head:99999", "head:", ":6379", "http://head:6379"])
def test_an_address_of_no_form_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--address = .*is no address.*HOST:PORT"):
        Options(engine="ray", address=address).check([])
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match="RAY_ADDRESS = "):
        Options(engine="ray").check([])


def test_which_cluster_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert wanted_address(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert wanted_address(None) == "head:6379"
    assert wanted_address("ray://other:10001") == "ray://other:10001"
    assert wanted_address("local") is None
    assert [Options(engine=name).elsewhere for name in ("ray", "process")] == [True, False]


def test_a_cell_whose_driver_has_lost_the_mailbox_goes_on_in_silence() -> None:
    post = Post(None, "cell")
    post([(PROGRESS, 1, 2)])
    post.settle()


@pytest.mark.parametrize("given", [{"address": "auto"}, {"cell": CellResources(cpus=2)}, {"cell": CellResources(gpus=0.5)}])
def test_what_only_a_cluster_has_is_refused_of_other_engines(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"cells run with --engine process; add --engine ray"):
        Options(**given).check([config()])


class Ray(types.SimpleNamespace):
    """Stands for the few calls of ray that the engine makes; a task runs when it is asked for."""

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        cause: Exception | None = None

    def __init__(self) -> None:
        exceptions = types.SimpleNamespace(RayError=self.RayError, RayTaskError=self.RayTaskError)
        super().__init__(exceptions=exceptions, said=[], asked=[])

    def remote(self, **of_all: Any) -> Any:
        def made(what: Any) -> Any:
            if what is not Mailbox:
                return types.SimpleNamespace(options=options)
            return types.SimpleNamespace(remote=lambda: self._mailbox)

        def options(**named: Any) -> Any:
            self.asked.append({**of_all, **named})
            return types.SimpleNamespace(remote=lambda *arguments: lambda: self.run_task(*arguments))

        return made

    @staticmethod
    def run_task(job: Job, *_: Any) -> Any:
        return call(job, None)

    @property
    def _mailbox(self) -> Any:
        return types.SimpleNamespace(take=types.SimpleNamespace(remote=lambda: self.letters))

    def letters(self) -> list[Any]:
        said, self.said = self.said, []
        return said

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any, **_: Any) -> Any:
        return reference()

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0, "memory": 2.0**30}}]

    def kill(self, actor: Any) -> None:
        return None


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ray = Ray()
    monkeypatch.setattr(ray_engine, "import_ray", lambda: ray)
    monkeypatch.setattr(ray_engine, "connect", lambda *_: False)
    monkeypatch.setattr(ray_engine, "check_nodes", lambda *_: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return ray


def test_what_ray_loses_is_tried_again_and_then_undone_and_no_cells_failure(
    bench: Bench, stand_in: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_task(job: Job, *_: Any) -> Any:
        if job.config.fusion.name == "none":
            raise stand_in.RayError("node died")
        if job.config.fusion.name == "concat":
            return Loss("node7: worker 0 died of signal 11 (SIGSEGV)", True, True, "log")
        return call(job, None)

    monkeypatch.setattr(stand_in, "run_task", run_task)
    with pytest.raises(MachineError, match=r"2 cells were left undone.*\n.*node died; tried 2 times; see to the cluster's nodes"):
        bench.run(engine="ray", workers=2)
    said = bench.said.getvalue()
    assert said.count("none seed 0: Ray lost it: RayError: node died; its cell is tried once more") == 1
    assert said.count("concat seed 1: node7: worker 0 died of signal 11 (SIGSEGV); its cell is tried once more") == 1
    assert {row.arm: (row.done, row.failed, row.left) for row in study_status(bench.out).rows} == {
        "none": (0, 0, 2),
        "concat": (0, 2, 0),
        "addition": (2, 0, 0),
    }
    assert {(each["num_cpus"], each["num_gpus"], each["max_retries"]) for each in stand_in.asked} == {(1, 0, 0)}


def test_a_node_that_cannot_run_cells_leaves_them_undone(bench: Bench, stand_in: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_task(*_: Any) -> Any:
        raise stand_in.RayTaskError("No module named 'torch'")

    monkeypatch.setattr(stand_in, "run_task", run_task)
    with pytest.raises(MachineError, match=r"no more were begun.*\n.*cannot run cells \(No module named 'torch'\)"):
        bench.run(engine="ray", workers=1)
    assert not bench.store.failures()


def test_any_event_of_a_cell_passes_in_the_order_in_which_it_came(tmp_path: Path, stand_in: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    class Point(Warned):
        """A kind of event that the engine does not know."""

    monkeypatch.setitem(EVENTS, "point", Point)

    def run_task(job: Job, *_: Any) -> Any:
        stand_in.said += [("gone", ("warned", "of a cell that is no more"))]
        stand_in.said += [("cell", message) for message in (("begun",), ("progress", "train", 1, 2), ("point", "odd"), ("unheard", 1))]
        return call(job, None)

    monkeypatch.setattr(stand_in, "run_task", run_task)
    events: list[Any] = []
    job = Job("cell", config(), tmp_path / "work", tmp_path, function="fake_cell:run_cell")
    with ray_engine.RayEngine(1, tmp_path, Cluster(cache=tmp_path)) as engine:
        engine.run(deque([job]), events.append)
    assert [type(event) for event in events] == [Started, Progress, Point, Finished]


def test_a_cell_that_no_node_can_take_is_refused_before_anything_runs(bench: Bench, stand_in: Ray, log: Log) -> None:
    with pytest.raises(ConfigError, match=r"a cell takes 3 CPUs of one node, and no node has so much \(the largest: 2 CPUs, 1\.0 GiB\)"):
        bench.run(engine="ray", cell=CellResources(cpus=3))
    assert not log()


def test_on_a_cluster_it_waits_for_a_node_and_says_so(bench: Bench, stand_in: Ray, caplog: pytest.LogCaptureFixture) -> None:
    bench.run(engine="ray", address="head:6379", cell=CellResources(memory_gib=8))
    assert caplog.text.count("it waits until such a node joins") == 1
    assert {each["memory"] for each in stand_in.asked} == {8 * 2**30}


# On a real one ----------------------------------------------------------------------------------------------------------------


def drive(bench: Bench, **options: Any) -> subprocess.Popen[str]:
    import json

    command = [sys.executable, str(HERE / "drive.py"), str(bench.file), str(bench.out), "small", "ray", json.dumps(options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def workers(root: Path) -> list[psutil.Process]:
    """Processes of cells that log into the study's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if "fila_lab.studies.engines.worker" in process.cmdline() and str(root) in os.readlink(f"/proc/{process.pid}/fd/2"):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    bench = Bench(tmp_path_factory.mktemp("reference"))
    bench.run()
    return quality(bench.store)


@pytest.mark.slow
def test_progress_is_seen_and_the_hosts_machine_is_recorded(bench: Bench, ray_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1.6")
    events: list[Any] = []
    from fila_lab.studies.display import Display

    update = Display.update
    monkeypatch.setattr(Display, "update", lambda self, event: (events.append(event), update(self, event)))
    bench.run(engine="ray", workers=2, cell_function="fake_cell:warning_cell")
    for cell in make_plan(load_study(bench.file)).cells:
        mine = [event for event in events if getattr(event, "id", "") == cell.id]
        kinds = [type(event) for event in mine]
        assert kinds[0] is Started
        assert kinds[-1] is Finished
        assert kinds.count(Warned) == 1
        assert {(event.step, event.total) for event in mine if isinstance(event, Progress)} >= {(1, 3), (3, 3)}
        manifest = bench.store.manifest(cell.id)
        assert manifest["machine"]["cores"]
        assert manifest["versions"]["python"]
    assert "Ray: the cluster that this process has joined, 1 node, 2 CPUs" in bench.said.getvalue()


@pytest.mark.slow
def test_a_supervisor_that_is_killed_takes_its_worker_along_and_the_cell_is_tried_again(
    bench: Bench, ray_here: str, monkeypatch: pytest.MonkeyPatch, reference: dict[str, object]
) -> None:
    """As Ray's own guard of a node's memory does."""
    monkeypatch.setenv("FAKE_SECONDS", "2")
    killed: list[psutil.Process] = []

    def kill() -> None:
        wait_until(lambda: bool(workers(bench.out)))
        worker = workers(bench.out)[0]
        supervisor = worker.parent()
        assert supervisor is not None
        supervisor.kill()
        killed.append(worker)

    thread = threading.Thread(target=kill)
    thread.start()
    bench.run(engine="ray", workers=2)
    thread.join()
    assert quality(bench.store) == reference
    assert "Ray lost it: WorkerCrashedError" in bench.said.getvalue()
    psutil.wait_procs(killed, timeout=5)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in killed)


@pytest.mark.slow
def test_ctrl_c_cancels_what_is_under_way_and_what_waits(
    bench: Bench, ray_here: str, monkeypatch: pytest.MonkeyPatch, reference: dict[str, object]
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "3")
    driver = drive(bench, address=ray_here, workers=4)
    wait_until(lambda: bool(bench.store.done_ids()))
    left = workers(bench.out)
    assert left
    os.kill(driver.pid, signal.SIGINT)
    stopped = time.monotonic()
    _, said = driver.communicate(timeout=30)
    assert time.monotonic() - stopped < 10
    assert driver.returncode != 0
    assert "Ray: the cluster at --address" in said
    assert "The same command goes on" in said
    wait_until(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in left), 10)
    monkeypatch.setenv("FAKE_SECONDS", "0")
    bench.run(engine="ray")
    assert quality(bench.store) == reference


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_cell_running_and_the_same_command_completes(
    bench: Bench, ray_here: str, monkeypatch: pytest.MonkeyPatch, reference: dict[str, object]
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "3")
    driver = drive(bench, address=ray_here)
    wait_until(lambda: bool(workers(bench.out)) and bool(bench.store.done_ids()))
    driver.kill()
    driver.wait()
    wait_until(lambda: not workers(bench.out), 30)
    monkeypatch.setenv("FAKE_SECONDS", "0")
    again = drive(bench, address=ray_here)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert quality(bench.store) == reference
    assert not list(bench.out.rglob(".ray-*"))


@pytest.fixture
def two_nodes() -> Iterator[tuple[str, Callable[[], None]]]:
    """(address, what kills the second) of two of Ray's nodes on this machine; only the second has room for cells, until a third joins."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'fila_lab[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    doomed = nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)

    def kill() -> None:
        nodes.remove_node(doomed, allow_graceful=False)
        nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)

    yield nodes.address, kill
    nodes.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_with_a_cell_is_replaced_by_another(
    bench: Bench, two_nodes: tuple[str, Callable[[], None]], monkeypatch: pytest.MonkeyPatch, reference: dict[str, object]
) -> None:
    address, kill = two_nodes
    monkeypatch.setenv("FAKE_SECONDS", "2")
    driver = drive(bench, address=address, workers=2)
    wait_until(lambda: bool(workers(bench.out)) and bool(bench.store.done_ids()))
    left = workers(bench.out)
    kill()
    _, said = driver.communicate(timeout=240)
    assert driver.returncode == 0, said
    assert "2 nodes, 1 CPU" in said
    assert "its cell is tried once more" in said
    assert quality(bench.store) == reference
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in left)


@pytest.mark.slow
def test_a_folder_of_one_node_alone_is_refused(ray_here: str, tmp_path: Path) -> None:
    import ray

    from fila_lab.studies.engines.ray_cluster import check_nodes
    from fila_lab.studies.engines.ray_node import Setting

    setting = Setting(tmp_path, tmp_path / "out", tmp_path / "cache")
    for folder in (setting.root, setting.cache):
        folder.mkdir()
    check_nodes(ray, setting, frozenset({"seam"}))
    with pytest.raises(ConfigError, match=r"does not see the working directory .*nowhere; all nodes must see the same storage"):
        check_nodes(ray, Setting(tmp_path / "nowhere", setting.root, setting.cache), frozenset({"seam"}))
    assert not list(tmp_path.rglob(".ray-*"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Of a listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_address_where_nobody_answers_is_one_message_within_seconds(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.studies.engines import ray_cluster

    monkeypatch.setattr(ray_cluster, "REACH", 0.3)
    nobody = types.SimpleNamespace(is_initialized=lambda: False)
    for address, words in (
        ("127.0.0.1:1", "nobody answers there (Connection refused); start a cluster"),
        ("ray://127.0.0.1:1", "nobody answers there"),
        (f"127.0.0.1:{silent_port}", "what listens there is no Ray; give auto, HOST:PORT"),
    ):
        with pytest.raises(FilaError) as refused:
            ray_cluster.connect(nobody, Cluster(address))
        assert f"--address = {address}: " in str(refused.value)
        assert words in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


def test_a_ray_that_ends_the_process_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.studies.engines import ray_cluster

    def init(**_: Any) -> None:
        raise SystemExit(15)

    monkeypatch.setattr(ray_cluster, "_reach", lambda *_: None)
    ray = types.SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    with pytest.raises(FilaError, match=r"--address = head:6379: Ray cannot be joined .*RAY_AUTH_MODE=token"):
        ray_cluster.connect(ray, Cluster("head:6379"))


def test_what_remains_of_an_undone_cell_is_the_machines(tmp_path: Path) -> None:
    """A node without the driver's folders says so of a cell, where it joined after the look at all nodes."""
    from fila_lab.studies.engines.ray_node import Setting, supervise

    job = Job("cell", config(), tmp_path / "work", tmp_path)
    outcome = supervise(job, 0, Setting(tmp_path, tmp_path / "elsewhere", tmp_path), lambda _: None)
    event = outcome.event("cell", 0) if not isinstance(outcome, Loss) else None
    assert isinstance(event, Undone)
    assert "does not see --out" in event.reason
