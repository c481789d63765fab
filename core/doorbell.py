"""The producing side of Celery: queue and task names, and `ring`, which says that there is work (DESIGN §5).

A ring carries nothing that matters. Losing it costs latency, never a result, so it never fails its caller.
"""

import shutil
from typing import Any

import structlog
from celery import Celery
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

from core.errors import BallastError
from core.settings import Settings

QUEUE = "ballast"
TASK = "ballast.ring"

TRANSPORT_ALIASES["filesystem"] = "core.mailbox:Transport"  # imported when somebody first rings, or listens

log = structlog.get_logger()


class BrokerUnreachable(BallastError):
    """The broker does not answer."""


def celery_app(settings: Settings, name: str, transport_options: dict[str, Any], **config: Any) -> Celery:
    """A Celery app with what both sides of the doorbell share (CELERY.md §3)."""
    app = Celery(name, broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options=transport_options,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(QUEUE)],
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_send_sent_event=True,
        **config,
    )
    return app


def folder_options(settings: Settings) -> dict[str, Any]:
    """Options of the filesystem transport: messages and control files under `BALLAST_HOME/queue`. Makes the folders."""
    messages, control = settings.queue_dir / "messages", settings.queue_dir / "control"
    for folder in (messages, control):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": 0.1,
        "store_processed": False,
    }


def empty_folder(settings: Settings) -> None:
    """Forget every message and node name. SQL is the truth; an old `shutdown` replayed to a new worker is not."""
    shutil.rmtree(settings.queue_dir, ignore_errors=True)


class Doorbell:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = celery_app(settings, "ballast-doorbell", self._transport_options())
        self._silent = False

    def ring(self) -> None:
        """Tell one worker that there is work. Takes 0.3 s at most, also when the broker is dead, and never raises."""
        try:
            self._app.send_task(TASK, queue=QUEUE, retry=False, expires=600)
            self._silent = False
        except Exception as error:  # whatever it is: what the bell is rung for is committed already
            if not self._silent:  # said once an outage: every worker polls, so nothing is lost
                log.warning("the broker does not answer: workers find work by polling", error=str(error))
                self._silent = True

    def check(self) -> None:
        """Raises BrokerUnreachable."""
        if self._settings.embedded_broker:
            return
        import redis

        try:
            client = redis.Redis.from_url(self._settings.broker_url, socket_timeout=2, socket_connect_timeout=2)
            with client:
                client.ping()
        except (redis.RedisError, OSError, ValueError) as error:
            raise BrokerUnreachable(
                f"the broker at {_without_password(self._settings.broker_url)} does not answer ({error}): "
                "start Redis, or correct BALLAST_BROKER_URL"
            ) from None

    def close(self) -> None:
        self._app.close()

    def _transport_options(self) -> dict[str, Any]:
        if self._settings.embedded_broker:
            return folder_options(self._settings)
        at_once = dict.fromkeys(("max_retries", "interval_start", "interval_step", "interval_max"), 0)
        return {"socket_timeout": 0.3, "socket_connect_timeout": 0.3, **at_once}


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
