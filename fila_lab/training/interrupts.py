"""Ctrl-C while Lightning trains."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_passes() -> Iterator[None]:
    """KeyboardInterrupt where Lightning's Trainer would end the process.

    The Trainer answers Ctrl-C by ignoring further ones and `exit(1)`, in silence: the driver could not say what is left.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from error
    finally:
        if main and handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
