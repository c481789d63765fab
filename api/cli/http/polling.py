"""Looking at a service again and again: one that is started anew, or a host that sleeps, ends no wait."""

import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import stamina

from api.cli.http.connection import report_retries
from api.cli.printing import print_note
from api.client import Refused, Unreachable

T = TypeVar("T")

_retry_for_a_minute = stamina.RetryingCaller(attempts=None, timeout=60.0, wait_max=2.0)


def poll(look: Callable[[], T], seconds: float) -> Iterator[T]:
    """What `look` returns, for ever, with a pause of at least `seconds` between. The first failure of a first look is
    raised: an address may be wrong. Later ones may go on for a minute. Raises Unreachable, Refused."""
    report_retries("for a minute")
    since = time.monotonic()
    yield look()
    while True:
        # Ten thousand members take a while to read: look less often.
        time.sleep(max(seconds, 2 * (time.monotonic() - since)))
        since = time.monotonic()
        yield _retry_for_a_minute(_passes_by_itself, look)


def _passes_by_itself(error: Exception) -> bool:
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status >= 500)


class WaitingReasons:
    """Why nothing happens, where it does not for two looks: printed once each, and of places in the queue one."""

    def __init__(self) -> None:
        self._printed: set[str] = set()
        self._last = ""

    def print_new(self, reason: str | None) -> None:
        kind = re.sub(r"\d+", "", reason or "")
        if reason and kind == self._last and kind not in self._printed:
            print_note(f"waiting: {reason}")
            self._printed.add(kind)
        self._last = kind
