"""The tasks of the seam suite behind one contract, one a module of the task's name."""

from importlib import import_module

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.data import SEAM_TASKS
from fila_lab.data.seam.tasks.base import Draft, Task

TASKS: dict[str, Task] = {name: import_module(f"{__name__}.{name}").TASK for name in SEAM_TASKS}


def get_task(name: str) -> Task:
    """The task of a name; FilaError for an unknown one."""
    if name not in TASKS:
        raise FilaError(f"task {name!r} is unknown{did_you_mean(name, TASKS)}; choose {', '.join(TASKS)}")
    return TASKS[name]


__all__ = ["TASKS", "Draft", "Task", "get_task"]
