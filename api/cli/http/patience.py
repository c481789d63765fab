"""Looking at a service again and again: one that is started anew, or a host that sleeps, ends no wait."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from api.cli.printing import note
from api.client import Refused, Unreachable

T = TypeVar("T")

_patiently = stamina.RetryingCaller(attempts=None, timeout=60.0, wait_max=2.0)


def again_and_again(look: Callable[[], T], seconds: float) -> Iterator[T]:
    """What `look` returns, for ever, with a pause of at least `seconds` between. The first failure of a first look is
    raised: an address may be wrong. Later ones may go on for a minute. Raises Unreachable, Refused."""
    say_when_trying("for a minute")
    since = time.monotonic()
    yield look()
    while True:
        # Ten thousand members take a while to read: look less often.
        time.sleep(max(seconds, 2 * (time.monotonic() - since)))
        since = time.monotonic()
        yield _patiently(_may_pass, look)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status >= 500)


def say_when_trying(how_long: str) -> None:
    """Again, after a failure; once. The default logs each to standard output, amid the answers."""

    def say_so(details: RetryDetails) -> None:
        if details.retry_num == 1:
            note(f"{details.caused_by}; trying again {how_long}")

    set_on_retry_hooks([say_so])
