"""The way to a Ray cluster: reach it within seconds or say why not, and look at its nodes before anything runs."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import fila_lab
from fila_lab.config import ConfigError, FilaError
from fila_lab.studies.engines.cluster import FORMS, Cluster, wanted_address
from fila_lab.studies.engines.ray_node import SHARED, Setting, look
from fila_lab.studies.engines.resources import Resources
from fila_lab.studies.identity import code_hash

REACH = 5.0
"""Seconds in which the head must take a connection, and greet."""
LOOK = 90.0
"""Seconds in which every node must have started a process and told what it sees."""
STORE = 128 * 2**20
"""Bytes of the object store of a Ray that is started here: results are small."""
_STARTED = "start a cluster (ray start --head), mend the address, or leave --address out to run on this machine"


def import_ray() -> Any:
    """The package.

    Raises:
        FilaError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise FilaError("engine='ray' needs the ray package; install it with: pip install 'fila_lab[ray]'") from error
    return ray


def connect(ray: Any, cluster: Cluster) -> bool:
    """Join the cluster, or start a Ray here; a process that has joined one already stays with it. Says which; whether it was joined now.

    Raises:
        FilaError: nobody answers, or not as a Ray of this version.
    """
    if ray.is_initialized():
        cluster.say(f"Ray: the cluster that this process has joined, {_size(ray)}")
        return False
    address = wanted_address(cluster.address)
    quiet = {"log_to_driver": False, "logging_level": "warning"}
    if address is None:
        _join(ray, "a Ray on this machine", address="local", include_dashboard=False, object_store_memory=STORE, **quiet)
        cluster.say(f"Ray: started on this machine, {_size(ray)}; --address names a cluster")
        return True
    source = "--address" if cluster.address is not None else "RAY_ADDRESS"
    shown = f"{source} = {address}"
    if address != "auto":
        _reach(shown, address)
    package = str(Path(fila_lab.__file__).parent)
    _join(ray, shown, address=address, runtime_env={"py_modules": [package], "excludes": ["**/__pycache__"]}, **quiet)
    cluster.say(f"Ray: the cluster at {shown}, {_size(ray)}")
    return True


def _join(ray: Any, shown: str, **how: Any) -> None:
    try:
        ray.init(**how)
    except (Exception, SystemExit) as error:  # Ray leaves the process where a head does not answer it
        with suppress(Exception):
            ray.shutdown()
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        token = "" if how["address"] == "local" else "; where the cluster wants a token, set RAY_AUTH_MODE=token, and see ~/.ray/auth_token"
        raise FilaError(f"{shown}: Ray cannot be joined ({cause}); {_STARTED}{token}") from error


def _reach(shown: str, address: str) -> None:
    """Refuse an address where nobody listens, or somebody else: Ray itself would wait for minutes and end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH) as there:
            greeted = bool(os.environ.get("RAY_USE_TLS")) or _greets(there)
    except OSError as error:
        raise FilaError(f"{shown}: nobody answers there ({error.strerror or error}); {_STARTED}") from error
    if not greeted:
        raise FilaError(f"{shown}: what listens there is no Ray; give {FORMS}")


def _greets(there: socket.socket) -> bool:
    """Whether the other side speaks HTTP/2, as every server of Ray's does: settings are answered with settings (RFC 9113, 3.4 and 6.5)."""
    there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
    try:
        header = there.recv(9, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(header) == 9 and header[3] == 4


def _size(ray: Any) -> str:
    total = ray.cluster_resources()
    nodes = len(alive(ray))
    return f"{nodes} node{'' if nodes == 1 else 's'}, {Resources(total.get('CPU', 0), total.get('GPU', 0))}"


def alive(ray: Any) -> list[dict[str, Any]]:
    """The nodes that are there, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def most_cpus(ray: Any) -> float:
    """CPUs of the node that has the most."""
    return max((float(node["Resources"].get("CPU", 0)) for node in alive(ray)), default=1.0)


def too_large(ray: Any, share: Resources) -> str:
    """Why no node that is there can ever take such a cell; empty where one can."""
    nodes: list[dict[str, float]] = [node["Resources"] for node in alive(ray)]
    if any(_holds(node, share) for node in nodes):
        return ""
    largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default={})
    has = Resources(largest.get("CPU", 0), largest.get("GPU", 0), largest.get("memory"))
    return f"a cell takes {share} of one node, and no node has so much (the largest: {has})"


def _holds(node: dict[str, float], share: Resources) -> bool:
    return all(node.get(name, 0) >= (wanted or 0) for name, wanted in (("CPU", share.cpus), ("GPU", share.gpus), ("memory", share.memory)))


def check_nodes(ray: Any, setting: Setting, suites: frozenset[str]) -> None:
    """Have every node look for the driver's folders and code; one message names the nodes that do not see them.

    Raises:
        ConfigError: folders that are not shared, other code.
        FilaError: a node does not answer.
    """
    token = f".ray-{secrets.token_hex(8)}"
    marks = [setting.root / token, setting.cache / token]
    try:
        for mark in marks:
            mark.write_bytes(b"")
        told = _looks(ray, setting, token, suites)
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
    if blind := [f"{host} does not see {missing}" for host, missing, _ in told if missing]:
        raise ConfigError(f"--engine ray: {'; '.join(blind[:3])}{_more(blind)}; {SHARED}")
    ours = code_hash(suites)
    if other := [f"{host} ({code})" for host, _, code in told if code != ours]:
        listed = ", ".join(other[:3]) + _more(other)
        raise ConfigError(f"--engine ray: {listed} would run other code than this driver ({ours}); install this version there")


def _more(found: list[str]) -> str:
    return f" and {len(found) - 3} more" if len(found) > 3 else ""


def _looks(ray: Any, setting: Setting, token: str, suites: frozenset[str]) -> list[tuple[str, str, str]]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    nodes = alive(ray)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            setting, token, sorted(suites)
        ): node
        for node in nodes
    }
    ready, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK)
    if waiting:
        names = [str(asked[reference]["NodeManagerHostname"]) for reference in waiting]
        for reference in waiting:
            ray.cancel(reference, force=True)
        raise FilaError(f"--engine ray: {', '.join(names[:3])}{_more(names)} did not answer in {LOOK:.0f} s; see `ray status`")
    try:
        return [ray.get(reference) for reference in ready]
    except ray.exceptions.RayError as error:
        cause = " ".join(str(getattr(error, "cause", None) or error).split())[-300:]
        raise FilaError(
            f"--engine ray: a node cannot run this package ({cause}); install what it depends on there, e.g. pip install 'fila_lab[ray]'"
        ) from error
