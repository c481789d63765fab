"""What Celery needs on Redis and in a folder, so that neither a message nor an error of theirs can end a worker.

As shipped, a body of `42` ends the worker, goes back into the queue and ends the next one; and an answer that is an
error, such as to a user without rights, ends each of them. Facts: worker/README.md, "Traps", and
worker/README.md, "Celery's settings".
"""

import logging
import time
from collections import deque
from queue import Empty
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import RedisError

from core.broker import mailbox
from core.broker.doorbell import AT_ONCE, TASK, folder_options
from core.settings import Settings

RETRY_SECONDS = 2
FORGOTTEN_SECONDS = 60  # without an error: the next one is said again, whichever it is

log = structlog.get_logger()
logging.getLogger("celery.worker.consumer.consumer").setLevel(logging.ERROR)  # it warns of what we say, but each time

_CONNECTION_ERRORS = (OSError, RedisError)
_WHATEVER = (Exception,)  # raised where something is asked of the broker: mended by connecting again, never an end


def transport_options(settings: Settings) -> dict[str, Any]:
    if settings.embedded_broker:
        return folder_options(settings)
    # Never retry_on_timeout or retry_on_error: with them the worker wedges for ever when Redis restarts.
    return {
        "socket_connect_timeout": 2,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 60,
        **AT_ONCE,
    }


def worker_config(settings: Settings) -> dict[str, Any]:
    return {
        "worker_pool": "threads",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": not settings.embedded_broker,
        "worker_consumer": f"{__name__}:CarefulConsumer",
        "task_acks_late": False,  # a lease in SQL says who works on what
        "broker_connection_retry_on_startup": True,
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # those acknowledged late, and none is
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


class CarefulConsumer(Consumer):
    """Drops what is no ring with one log line, and connects again after whatever error, said once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._logged: set[str] = set()  # errors
        self._failed_at = 0.0

    def ensure_connected(self, conn: Any) -> Any:
        """At once or not at all: Celery would try for ever here, and say so each time."""
        return conn.ensure_connection(max_retries=0, reraise_as_library_errors=False)

    def on_ready(self) -> None:
        super().on_ready()
        # Events that cannot be sent are kept: but not all of them, for as long as nobody lets us.
        events = self.event_dispatcher  # type: ignore[attr-defined]  # unknown to the stubs
        events._outbound_buffer = deque(events._outbound_buffer, maxlen=1000)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._log_once_and_wait(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self._log_once_and_wait(exc)

    def _log_once_and_wait(self, error: Exception) -> None:
        words = f"{type(error).__name__}: {error}".rpartition(" caused error: ")[2]  # before it stands a message's id
        now = time.monotonic()
        if now - self._failed_at > FORGOTTEN_SECONDS:
            self._logged.clear()
        if words not in self._logged:
            log.warning("no rings are heard: training goes on, and work is found by polling", error=words)
        self._logged.add(words)
        self._failed_at = now
        time.sleep(RETRY_SECONDS)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> Any:
            try:
                _strip_all_but_id(message)
                return handle(message)
            except _CONNECTION_ERRORS:
                raise
            except Exception as error:
                return self.on_decode_error(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        _log_drop(exc)
        message.ack_log_error(log, _CONNECTION_ERRORS)


class _NoRing(Exception):
    pass


def _strip_all_but_id(message: Any) -> None:
    """Leave nothing in the message but its id: Celery would obey a callback, wait for an `eta`, or trip over a
    `timelimit`. Raises where even that is not there."""
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        raise _NoRing("not a ring")
    if not isinstance(headers.get("id"), str):
        raise _NoRing("no id")
    if message.content_type != "application/json":
        raise _NoRing("not JSON")
    if message.payload[:2] != [[], {}]:
        raise _NoRing("arguments")
    message.headers = {"task": TASK, "id": headers["id"]}
    message.body, message.content_encoding = b"[[], {}, {}]", "utf-8"
    message._decoded_cache = [[], {}, {}]


def _log_drop(error: Exception) -> None:
    log.warning("dropped a message that is no ring", fault=f"{type(error).__name__}: {error}"[:200])


class RedisChannel(redis.Channel):
    """Drops what is no JSON: it is taken from the queue already."""

    def _brpop_read(self, **options: Any) -> Any:
        return _deliver_or_drop(super()._brpop_read, **options)  # type: ignore[misc]  # unknown to the stubs

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        """A ring that cannot be acknowledged is forgotten all the same: it would be one too many for ever, and no other
        would be asked for, nor the cut connection noticed. Redis gives it once more after a minute, which harms
        nobody."""
        try:
            super().basic_ack(delivery_tag, multiple)
        except _CONNECTION_ERRORS:
            virtual.QoS.ack(self.qos, delivery_tag)
            raise


class RedisTransport(redis.Transport):
    Channel = RedisChannel
    connection_errors = _WHATEVER

    def _deliver(self, message: Any, queue: str | None) -> None:
        _deliver_or_drop(super()._deliver, message, queue)


class FolderTransport(mailbox.Transport):
    connection_errors = _WHATEVER

    def _deliver(self, message: Any, queue: str | None) -> None:
        _deliver_or_drop(super()._deliver, message, queue)


def _deliver_or_drop(deliver: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return deliver(*args, **kwargs)
    except (*_CONNECTION_ERRORS, Empty):
        raise
    except Exception as error:
        _log_drop(error)
        return True


TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:RedisTransport"
TRANSPORT_ALIASES["filesystem"] = f"{__name__}:FolderTransport"
