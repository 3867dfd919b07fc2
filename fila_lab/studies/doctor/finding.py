"""One thing that was looked at, and how it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fila_lab.config import FilaError

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """`fail`: something the laboratory needs does not work; `warn`: it works, less well or not for everything."""

    name: str
    state: State
    told: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


Check = Callable[[], list[Finding]]


def looked(name: str, check: Check, remedy: str) -> list[Finding]:
    """What a check finds; an exception of its own is a finding too, with this remedy."""
    try:
        return check()
    except FilaError as error:
        return [Finding(name, "fail", str(error))]
    except Exception as error:
        return [Finding(name, "fail", " ".join(f"{type(error).__name__}: {error}".split())[:300], remedy)]
