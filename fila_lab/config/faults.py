"""Whose fault it was: the machine's, which leaves the work undone, or the work's own, which is a result. Read from the exception alone;
imports no torch, so that every room and every engine draws the same line.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from fila_lab.config.base import FilaError, MachineError

KILLED = "worker killed"
"""The kind of fault where a process was ended from outside; of every other kind the next piece of work is as likely to meet it."""
_REMEDIES = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "mount it writable",
    errno.EACCES: "mend its permissions",
    errno.EPERM: "mend its permissions",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close what holds so many files open on this machine",
    errno.EIO: "check the disk or the mount",
    errno.ESTALE: "mount it again",
    errno.ENOENT: "put it back, or mount it again",
    errno.ENOTDIR: "put the folder back",
    errno.EISDIR: "put the file back",
    errno.ENODEV: "mount it again, or put the device back",
    errno.ENXIO: "put the device back",
    errno.EAGAIN: "end other work on this machine",
}
_UNMISTAKABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO}
)
"""Causes that no input can have; the others (no such file, say) may stand behind a mistake of the user's that is named as such."""
_WORDS = {
    **{os.strerror(number): number for number in _UNMISTAKABLE},
    # SQLite, which has no errno
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
}
_DEVICE = (
    "no cuda-capable device",
    "no cuda gpus are available",
    "busy or unavailable",
    "invalid device ordinal",
    "found no nvidia driver",
    "cuda driver version is insufficient",
    "cuda driver initialization failed",
    "cuda unknown error",
    "uncorrectable ecc",
    "fallen off the bus",
    "device is lost",
    "no supported gpu backend found",
    "but your machine only has",
)
"""What PyTorch and Lightning say (in lower case) of a device that is absent or has gone."""
_MEMORY = (
    "out of memory",
    "outofmemory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "failed to allocate",
    "alloc_failed",
    "bad_alloc",
)
"""What libraries say (in lower case) when memory ran out: PyTorch on Linux, Windows and macOS, CUDA, cuBLAS, numpy, the C++ library."""

_COMPILER = re.compile(r"CppCompileError|InvalidCxxCompiler")
"""What torch.compile calls a compiler that is absent or fails, such as for want of Python's headers."""
_PASSED_ON = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback")
_ENDED = re.compile(r"DataLoader worker .* is killed by signal: (Killed|Terminated|Bus error)")
"""How PyTorch says that a process which made batches was ended from outside; a crash of its own has other signals."""


def machine_fault(error: BaseException) -> MachineError | None:
    """The MachineError that stands for this exception, naming the mend; None where the failure is the work's own.

    The machine's are: a MachineError anywhere in the chain of causes, an OSError of the system (save out of memory), a lost connection,
    and what libraries raise in their own classes when the disk is full or a device is absent. A FilaError that names a mistake of the
    user's stays one, unless its cause is unmistakable.
    """
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, MachineError):
            return link
    if is_out_of_memory(error):
        return None
    named = isinstance(error, FilaError)
    for position, link in enumerate(chain):
        number = _number(link, named)
        if number is not None and (position == 0 or number in _UNMISTAKABLE or (_explicit(chain[position - 1]) and not named)):
            what = os.strerror(number)
            return MachineError(f"{_said(error)}; {remedy(number)}, then give the same command again", what)
        if _ENDED.search(str(link)):
            return MachineError(f"{_said(error)}; if memory ran short, lower data.workers, then give the same command again", KILLED)
        if _COMPILER.search(f"{type(link).__name__}: {link}"):
            told = str(link).splitlines()
            why = "; ".join([told[0], *[line for line in told if "error: " in line][:1]])
            mend = "mend the compiler (Python's headers included), then give the same command again, or set runtime.compile=false"
            return MachineError(f"runtime.compile = true: {why}; {mend}", "compiler failed")
        if not named and (isinstance(link, ConnectionError) or any(word in str(link).lower() for word in _DEVICE)):
            kind = "connection lost" if isinstance(link, ConnectionError) else "device absent"
            return MachineError(f"{_said(error)}; see that device and connection are there, then give the same command again", kind)
    return None


def is_unmistakable(error: OSError) -> bool:
    """Whether the machine failed: a cause that no input can have."""
    return error.errno in _UNMISTAKABLE


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the processor or a device, in whatever words."""
    for link in _chain(error):
        if isinstance(link, MemoryError) or (isinstance(link, OSError) and link.errno == errno.ENOMEM):
            return True
        if not isinstance(link, FilaError) and any(word in f"{type(link).__name__} {link}".lower() for word in _MEMORY):
            return True
    return False


def first_fault(error: BaseException) -> BaseException:
    """What came first: an exception raised while another was being handled, without being made of it, is of the way out (clean-up)."""
    while not isinstance(error, FilaError) and not _explicit(error) and error.__context__ is not None:
        error = error.__context__
    return error


def spoken(error: BaseException) -> str:
    """What an exception says, what came first before it; of one that another process passed on, without that process's traceback."""
    first = first_fault(error)
    return _passed_on(str(error)) if first is error else f"{_said(first)}; then: {_passed_on(str(error))}"


def remedy(number: int | None) -> str:
    """What mends an errno."""
    return _REMEDIES.get(number or 0, "mend it")


def cannot_write(error: OSError, what: str, otherwise: str) -> MachineError:
    """`what` cannot be written: the cause, its mend, and what could be done otherwise."""
    cause = error.strerror or str(error)
    return MachineError(f"{what} cannot be written ({cause}); {remedy(error.errno)} or {otherwise}", cause)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what it was raised from or during, innermost last."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ if _explicit(link) else link.__context__


def _explicit(link: BaseException) -> bool:
    return link.__cause__ is not None or link.__suppress_context__


def _number(link: BaseException, named: bool) -> int | None:
    """The errno behind an exception, whether it is an OSError or a library's own class that quotes one."""
    if isinstance(link, OSError) and link.errno is not None:
        return link.errno
    if named:
        return None
    text = str(link)
    return next((number for words, number in _WORDS.items() if words in text), None)


def _passed_on(text: str) -> str:
    """The words of an exception of a loader's process, which PyTorch passes on as text: the last lines of a traceback, with its type."""
    if not _PASSED_ON.match(text):
        return text
    lines = text.splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith(" ")]
    said = "\n".join(lines[frames[-1] + 1 :] if frames else lines).strip()
    return said.partition(": ")[2] or said


def _said(error: BaseException) -> str:
    text = _passed_on(str(error)).strip() or type(error).__name__
    return text if isinstance(error, OSError | FilaError) else f"{type(error).__name__}: {text}"
