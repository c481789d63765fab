"""How many requests a minute a token may send: counted in Redis where that is the broker, so that all API processes
count together; else, and while it is away, in this process.
"""

import math
import re
import time
from typing import NamedTuple

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

log = structlog.get_logger()

_PREFIX = "ballast"  # of its keys, as of all that is ours in Redis
_SOCKET_SECONDS = 0.3
_AWAY_SECONDS = 10  # for which a Redis that did not answer is not asked again


class Refusal(NamedTuple):
    """Too many, of this minute."""

    left: int
    seconds: int  # until there is room for one more


class Pace:
    def __init__(self, broker_url: str = "") -> None:
        self._alone = MovingWindowRateLimiter(MemoryStorage())
        self._shared = _redis_limiter(broker_url) if re.match("rediss?://", broker_url) else None
        self._away_until = 0.0

    def refusal(self, name: str, per_minute: int) -> Refusal | None:
        """Counts one more of this name; None where it may be. Never raises."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return _refusal(self._shared, name, per_minute)
            except self._shared.storage.base_exceptions as error:
                self._away_until = time.monotonic() + _AWAY_SECONDS
                log.warning("requests are counted by this process alone: Redis does not answer", error=str(error))
        return _refusal(self._alone, name, per_minute)


def _refusal(limiter: MovingWindowRateLimiter, name: str, per_minute: int) -> Refusal | None:
    limit = RateLimitItemPerMinute(per_minute)
    if limiter.hit(limit, name):
        return None
    window = limiter.get_window_stats(limit, name)
    return Refusal(window.remaining, max(1, math.ceil(window.reset_time - time.time())))


def _redis_limiter(url: str) -> MovingWindowRateLimiter:
    from redis import ConnectionPool  # which a queue folder does not need
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    pool = ConnectionPool.from_url(
        re.sub(r"(?<=ssl_cert_reqs=)CERT_(\w+)", lambda word: word[1].lower(), url),  # redis knows no CERT_NONE
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return MovingWindowRateLimiter(RedisStorage(url, pool, key_prefix=_PREFIX))
