"""What may go wrong for who asks a service. `str(error)` is one sentence, fit to be printed as it is.

ClientError
├── Unreachable        nobody answers at the address
│   ├── BrokenOff      somebody did, until the connection broke in the middle
│   └── TooSlow        somebody does, but not in time
└── Refused            an answer of 400 or more, with its problem
    └── TooOften       more requests than the token may send a minute
"""

import json
from typing import Any

Json = dict[str, Any]


class ClientError(Exception):
    """The service did not do what was asked."""


class Unreachable(ClientError):
    """Nobody answers."""


class BrokenOff(Unreachable):
    """The connection broke in the middle. What was asked for may have been done all the same."""


class TooSlow(Unreachable):
    """No answer in time. What was asked for may have been done all the same."""


class Refused(ClientError):
    """The service answered with a problem."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem  # RFC 9457
        super().__init__(_faults(problem) or str(problem.get("detail") or f"HTTP {status}"))


class TooOften(Refused):
    """More requests than the token may send a minute: nothing was done, and in `seconds` there is room."""

    def __init__(self, problem: Json, seconds: float) -> None:
        super().__init__(429, problem)
        self.seconds = seconds


def _faults(problem: Json) -> str:
    """All of them; the problem's own detail names the first."""
    try:
        return "; ".join(map(_sentence, problem["errors"]))
    except (KeyError, TypeError):  # none, or another service's
        return ""


def _sentence(fault: Json) -> str:
    place, value, allowed = fault["pointer"] or "the body", fault["value"], fault["allowed"]
    sent = "" if value is None else f": {json.dumps(value, ensure_ascii=False)}"
    return f"{place} {fault['detail']}{sent}" + (f" (allowed: {allowed})" if allowed else "")
