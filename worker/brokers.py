"""What Celery needs on Redis and in a folder, and a consumer that no message can kill (CELERY.md §3, §4)."""

from typing import Any

import structlog
from celery.worker.consumer import Consumer
from redis.exceptions import RedisError

from core import mailbox
from core.doorbell import TASK
from core.settings import Settings

log = structlog.get_logger()


def transport_options(settings: Settings) -> dict[str, Any]:
    if settings.embedded_broker:
        return mailbox.transport_options(settings)
    # Never retry_on_timeout or retry_on_error: with them the worker wedges for ever when Redis restarts.
    return {
        "socket_connect_timeout": 2,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 60,
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
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


class CarefulConsumer(Consumer):
    """Drops what is no ring with one log line. As shipped, a body of `42` ends the worker, goes back into the queue and
    ends the next one."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> Any:
            fault = _fault(message)
            if fault:
                _drop(message, fault)
                return None
            try:
                return handle(message)
            except (OSError, RedisError):
                raise  # the connection's trouble, which Celery mends
            except Exception as error:
                _drop(message, repr(error))
                return None

        return on_task_received


def _drop(message: Any, fault: str) -> None:
    log.warning("dropped a message that is no ring", fault=fault)
    message.ack_log_error(log, (OSError, RedisError))


def _fault(message: Any) -> str | None:
    headers = message.headers
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        return "not a ring"
    if not isinstance(headers.get("id"), str):
        return "no id"
    if message.content_type != "application/json":
        return "not JSON"
    for name in ("eta", "expires"):
        if not isinstance(headers.get(name), str | None):
            return f"{name} is no time"
    limits = headers.get("timelimit") or [None, None]
    if not isinstance(limits, list) or len(limits) != 2 or any(limit is not None for limit in limits):
        return "a time limit"
    return None
