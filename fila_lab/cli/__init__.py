"""The command line, `fila-lab`: one thin command per verb. Importing it loads no room; commands load theirs when called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `fila-lab`: loads the application, so that Ctrl-C while it loads is no traceback. Leaves by SystemExit."""
    try:
        from fila_lab.cli.verbs import main as run
    except KeyboardInterrupt:
        print("\nstopped before anything began", file=sys.stderr)
        raise SystemExit(130) from None
    run(arguments)
