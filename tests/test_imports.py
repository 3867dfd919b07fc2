"""Imports run one way between rooms, and what must start fast pulls in no torch. Read from the source, not from a run."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fila_lab"
BELOW: dict[str, tuple[str, ...]] = {
    "config": (),
    "imaging": ("config",),
    "modeling": ("imaging", "config"),
    "data": ("imaging", "config"),
    "evaluation": ("data",),
    "training": ("modeling", "data", "evaluation", "cost.closed"),
    "pretraining": ("modeling", "data", "evaluation"),
    "cost.closed": ("config",),
    "cost": ("cost.closed", "modeling", "config"),
    "hub.audit": ("modeling", "evaluation", "analysis"),
    "hub": ("training",),
    "studies": ("training", "cost", "config"),
    "analysis": ("config", "cost.closed"),
    "cli": (
        "config",
        "imaging",
        "modeling",
        "data",
        "evaluation",
        "training",
        "pretraining",
        "cost",
        "studies",
        "analysis",
        "hub.audit",
        "hub",
    ),
}
HEAVY = {"torch", "torchvision", "lightning", "timm", "open_clip", "transformers"}
TORCH_FREE = ("config", "imaging", "cost.closed", "analysis", "cli")
ON_DEMAND = {PACKAGE / "imaging" / "torch_kernel.py"}
"""In a room without torch: imports it in a function, for one operator."""
PLANNING = (
    "__init__",
    "arms",
    "plan",
    "searches.trials",
    "searches.trials_file",
    "searches.checks",
    "searches.front_study",
    "rows",
    "step_times",
    "savings",
    "identity",
    "estimate",
    "detectable",
    "result",
    "store",
    "folder",
    "status",
    "lock",
)


def allowed(room: str) -> set[str]:
    """A room, the rooms below it, and those below them; the package's version is everybody's."""
    found = {room, "version"}
    for below in BELOW[room]:
        found |= allowed(below)
    return found


def files(room: str) -> list[Path]:
    """A room's files, without those of a wing that stands in BELOW by itself."""
    wings = [PACKAGE / name.replace(".", "/") for name in BELOW if name.startswith(f"{room}.")]
    found = sorted((PACKAGE / room.replace(".", "/")).rglob("*.py"))
    return [path for path in found if not any(path.is_relative_to(wing) for wing in wings)]


def room_of(module: str) -> str | None:
    """The room, or the wing that stands in BELOW by itself, of a dotted module; None outside the package."""
    parts = module.split(".")
    if parts[0] != "fila_lab" or len(parts) == 1:
        return None
    wing = ".".join(parts[1:3])
    return wing if wing in BELOW else parts[1]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, lazily: bool = True) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import; `lazily` false leaves out those in functions and under TYPE_CHECKING."""
    stack: list[ast.AST] = [parsed(path)]
    while stack:
        node = stack.pop()
        if not lazily and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _type_checking(node)):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write it in full"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        stack.extend(ast.iter_child_nodes(node))


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def test_every_room_is_known() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))} - {"__pycache__"}
    assert rooms == {name.split(".")[0] for name in BELOW}


@pytest.mark.parametrize("room", BELOW)
def test_imports_run_one_way(room: str) -> None:
    wrong = []
    for path in files(room):
        for line, module in imports(path):
            if (found := room_of(module)) is not None and found not in allowed(room):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize(
    ("used", "home"),
    [("fcntl.flock", "config/files.py"), ("os.fsync", "config/files.py"), ("torch.autocast", "modeling/precision.py")],
)
def test_what_is_to_be_done_one_way_is_done_in_one_file(used: str, home: str) -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if used.rpartition(".")[2] not in path.read_text(encoding="utf-8"):
            continue
        calls = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
        if any(ast.unparse(call.func) == used for call in calls):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {home}


def test_no_file_takes_a_private_name_of_another() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        own = [(line, name) for line, name in imports(path) if name.startswith("fila_lab.")]
        wrong += [f"{path.relative_to(PACKAGE)}:{line} imports {name}" for line, name in own if re.search(r"\._(?!_)", name)]
    assert not wrong


def test_no_two_files_import_each_other() -> None:
    """Nor do more of them in a circle, lazily or for types alone."""
    graphlib.TopologicalSorter(import_graph()).prepare()  # CycleError names the circle


def test_no_file_asks_the_package_it_lies_in() -> None:
    """The `__init__` of a package imports its files; a file that took a name from it would close a circle."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        around = {dotted(path.parents[level]): path.parents[level] / "__init__.py" for level in range(len(path.relative_to(PACKAGE).parts))}
        handed = {
            f"{package}.{name}"
            for package, init in around.items()
            if init != path
            for name, home in homes_of(init).items()
            if home != f"{package}.{name}"
        }
        wrong += [f"{path.relative_to(PACKAGE)}:{line} imports {name}" for line, name in imports(path) if name in handed]
    assert not wrong


def import_graph() -> dict[str, set[str]]:
    """Module below fila_lab -> modules it imports. What is taken from a package is imported from the file that the package has it from:
    an `__init__` hands on, and is no file of its own here."""
    modules = {dotted(path): path for path in PACKAGE.rglob("*.py")}
    packages = {name: path for name, path in modules.items() if path.name == "__init__.py"}
    homes = {name: homes_of(path) for name, path in packages.items()}

    def home(full: str) -> str:
        """The module in which a dotted name (a module, or something in one) is defined."""
        package, _, name = full.rpartition(".")
        further = homes.get(package, {}).get(name, full)
        if further != full:
            return home(further)
        return full if full in modules else package

    graph: dict[str, set[str]] = {}
    for name in modules.keys() - packages.keys():
        found = {home(full) for _, full in imports(modules[name]) if full.startswith("fila_lab.")}
        graph[name.removeprefix("fila_lab.")] = {module.removeprefix("fila_lab.") for module in found - packages.keys() - {name}}
    return graph


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def homes_of(init: Path) -> dict[str, str]:
    """Name that a package hands on -> its full dotted name; from its stub where it has one."""
    stub = init.with_suffix(".pyi")
    found = {}
    for node in ast.walk(parsed(stub if stub.exists() else init)):
        if isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (dotted(init) if node.level else "", node.module)))
            found |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
    return found


def test_the_command_line_loads_rooms_lazily() -> None:
    wrong = []
    for path in files("cli"):
        for line, module in imports(path, lazily=False):
            if module.startswith("fila_lab.") and not module.startswith(("fila_lab.cli", "fila_lab.config.base", "fila_lab.config.texts")):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {module} at import time")
    assert not wrong


def test_no_torch_where_it_must_be_fast() -> None:
    planning = [PACKAGE / "studies" / (name.replace(".", "/") + ".py") for name in PLANNING]
    paths = [path for room in TORCH_FREE for path in files(room)] + planning
    wrong = []
    for path in paths:
        read = imports(path, lazily=path not in ON_DEMAND)
        wrong += [f"{path.relative_to(PACKAGE)}:{line} imports {m}" for line, m in read if m.split(".")[0] in HEAVY]
    assert not wrong


@pytest.mark.parametrize(
    "modules",
    [
        "fila_lab.cli, fila_lab.cost.closed.matching, fila_lab.studies.plan, fila_lab.studies.estimate, fila_lab.studies.status",
        "fila_lab.analysis, fila_lab.analysis.report, fila_lab.analysis.terminal",
    ],
)
def test_no_torch_by_detour_either(modules: str) -> None:
    heavy = sorted(HEAVY | ({"pandas", "scipy", "rich.table", "optuna", "mlflow"} if "cli" in modules else set()))
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
