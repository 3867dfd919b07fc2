"""The line between the machine's faults and the work's own, drawn from exceptions as libraries raise them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch.utils.data import DataLoader, IterableDataset

from fila_lab.config import ConfigError, FilaError, MachineError
from fila_lab.config.faults import is_out_of_memory, machine_fault, spoken
from fila_lab.training.cell import failure_kind
from fila_lab.training.module import NotFiniteError


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number), "some/file")


def raised(outer: Exception, cause: Exception, explicit: bool = True) -> Exception:
    """`outer`, raised while `cause` was handled."""
    try:
        try:
            raise cause
        except Exception as inner:
            if explicit:
                raise outer from inner
            raise outer  # noqa: B904 (that is the case in question)
    except Exception as error:
        return error


MACHINE = [
    MachineError("the cache is damaged"),
    *map(system, (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EAGAIN)),
    *map(system, (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EPIPE)),
    BrokenPipeError(),
    ConnectionResetError(),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError("unable to write to file: Too many open files (24)"),
    RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    raised(RuntimeError("storage failed"), Exception("database or disk is full")),
    raised(RuntimeError("could not load"), system(errno.ENOENT)),
    raised(ValueError("no"), system(errno.EIO), explicit=False),
    raised(FilaError("weights cannot be read"), system(errno.EIO)),
    raised(FilaError("wrapped"), MachineError("cache")),
    RuntimeError("CppCompileError: C++ compile error\n\nOutput:\nfatal error: Python.h: No such file or directory"),
]
OWN = [
    ValueError("no"),
    NotFiniteError("loss is nan"),
    ConfigError("vit.weights is missing"),
    raised(ConfigError("the file is missing; check the path"), system(errno.ENOENT)),
    raised(ValueError("a shape"), system(errno.ENOENT), explicit=False),
    OSError("nobody/model is not a valid model identifier"),
    RuntimeError("CUDA error: device-side assert triggered"),
    ZeroDivisionError(),
]
MEMORY = [
    MemoryError(),
    system(errno.ENOMEM),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    RuntimeError("unable to mmap 96 bytes from file <x>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    raised(RuntimeError("the step failed"), MemoryError()),
]


@pytest.mark.parametrize("error", MACHINE, ids=repr)
def test_the_machines_faults(error: Exception) -> None:
    fault = machine_fault(error)
    assert fault is not None
    assert fault is error or fault is error.__cause__ or "same command" in str(fault)


@pytest.mark.parametrize("error", OWN, ids=repr)
def test_the_works_own_failures(error: Exception) -> None:
    assert machine_fault(error) is None
    assert failure_kind(error) in ("bad_input", "not_finite", "error")


@pytest.mark.parametrize("error", MEMORY, ids=repr)
def test_memory_has_many_words_and_is_the_cells_own(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert machine_fault(error) is None
    assert failure_kind(error) == "out_of_memory"


@pytest.mark.parametrize("allocate", [lambda: np.zeros(2**62, np.uint8), lambda: torch.zeros(2**60)], ids=["numpy", "torch"])
def test_memory_that_really_runs_out(allocate: object) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is the library's choice)
        allocate()  # type: ignore[operator]
    assert failure_kind(caught.value) == "out_of_memory"


class Failing(IterableDataset):
    """Raises, or ends its own process, in a loader's process."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __iter__(self) -> Iterator[int]:
        yield 1
        if self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise self.error  # type: ignore[misc]


def of_a_loader(error: Exception | None) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is PyTorch's choice)
        list(DataLoader(Failing(error), batch_size=None, num_workers=1))
    return caught.value


def test_what_a_loaders_process_raised_is_told_in_its_own_words() -> None:
    named = of_a_loader(FilaError("data.train.path='x': not there;\nput it back"))
    assert (failure_kind(named), spoken(named)) == ("bad_input", "data.train.path='x': not there;\nput it back")
    fault = machine_fault(of_a_loader(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")))
    assert fault is not None
    assert "Traceback" not in str(fault)
    assert spoken(of_a_loader(ValueError("odd: value"))) == "odd: value"
    ended = machine_fault(of_a_loader(None))
    assert ended is not None
    assert "data.workers" in str(ended)


def test_what_came_first_is_told_before_what_failed_on_the_way_out() -> None:
    def cleaned_up(first: Exception) -> Exception:
        try:
            try:
                raise first
            finally:
                raise RuntimeError("call iter first")
        except RuntimeError as error:
            return error

    assert spoken(cleaned_up(ValueError("cannot be pickled"))) == "ValueError: cannot be pickled; then: call iter first"
    named = cleaned_up(FilaError("train.steps=0: give at least 1"))
    assert spoken(named).startswith("train.steps=0")
    assert failure_kind(named) == "bad_input"
    assert spoken(raised(FilaError("said well"), KeyError("x"))) == "said well"
