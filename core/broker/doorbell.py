"""The producing side of Celery: the task's name, and `ring`, which says that there is work (worker/README.md, "From the
ring to the first step").

A ring carries nothing that matters. Losing it costs latency, never a result, so it never fails its caller.
"""

import shutil
import uuid
from typing import Any

import structlog
from celery import Celery
from celery.loaders.app import AppLoader
from celery.utils.collections import DictAttribute
from kombu import Connection, Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from core.broker import QUEUE
from core.errors import BallastError
from core.settings import Settings

TASK = "ballast.ring"

AT_ONCE = dict.fromkeys(("max_retries", "interval_start", "interval_step", "interval_max"), 0)  # or not at all

TRANSPORT_ALIASES["filesystem"] = "core.broker.mailbox:Transport"  # imported when somebody first rings, or listens

log = structlog.get_logger()


class BrokerUnreachable(BallastError):
    """The broker does not answer, or refuses what is done there."""


class _Loader(AppLoader):
    def read_configuration(self, env: str = "") -> DictAttribute:  # noqa: ARG002 - Celery's signature
        return DictAttribute({})  # else the module that CELERY_CONFIG_MODULE names


class _App(Celery):
    """Goes to our broker, also where CELERY_BROKER_URL, which Celery prefers to its own settings, is another's."""

    backend_cls = "disabled://"

    def __init__(self, name: str, broker: str) -> None:
        super().__init__(name, broker=broker, loader=_Loader, fixups=[], set_as_current=False)
        self._broker = broker

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_read(url or self._broker, **kwargs)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        return super().connection_for_write(url or self._broker, **kwargs)


def celery_app(settings: Settings, name: str, transport_options: dict[str, Any], **config: Any) -> Celery:
    """A Celery app with what both sides of the doorbell share (worker/README.md, "Celery's settings")."""
    app = _App(name, settings.broker_url)
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
    """Options of the filesystem transport: messages and control files under `BALLAST_HOME/queue`."""
    messages = str(settings.queue_dir / "messages")
    return {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(settings.queue_dir / "control"),
        "polling_interval": 0.1,
        "store_processed": False,
    }


def empty_folder(settings: Settings) -> None:
    """Forget every message and node name. SQL is the truth; an old `shutdown` replayed to a new worker is not."""
    shutil.rmtree(settings.queue_dir, ignore_errors=True)


class Doorbell:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.address = _without_password(settings.broker_url)
        self._app = celery_app(settings, "ballast-doorbell", self._transport_options())
        self._silent = False

    def ring(self) -> None:
        """Tell one worker that there is work. Takes 0.3 s at most, also when the broker is dead, and never raises."""
        try:
            self._app.send_task(TASK, queue=QUEUE, retry=False, expires=600)
            self._silent = False
        except Exception as error:  # whatever it is: what the bell is rung for is committed already
            if not self._silent:  # said once an outage: every worker polls, so nothing is lost
                log.warning("no ring can be sent: workers find work by polling", error=str(error))
                self._silent = True

    def check(self) -> None:
        """Do what is done on the broker, and leave nothing there. Raises BrokerUnreachable."""
        try:
            with self._app.connection_for_write(transport_options=self._transport_options(seconds=2)) as connection:
                self._rehearse(connection.default_channel)
        except Exception as error:  # of kombu, redis, a file system
            cause = error.__cause__ if isinstance(error, OperationalError) else error
            raise BrokerUnreachable(self._trouble(cause)) from None

    def _rehearse(self, channel: Any) -> None:
        if self._settings.embedded_broker:
            nobodys = f"{QUEUE}.check.{uuid.uuid4().hex}"
            channel._put(nobodys, {})
            channel._get(nobodys)
            return
        from core.broker.rehearsal import rehearse  # redis, which a queue folder does not need

        with channel.conn_or_acquire() as client:
            rehearse(client.connection_pool)

    def _trouble(self, error: BaseException | None) -> str:
        if self._settings.embedded_broker:
            reason = getattr(error, "strerror", None) or error
            return (
                f"the queue folder {self._settings.queue_dir} cannot be used ({reason}): "
                "make it a folder that you may write to, or set BALLAST_HOME to another"
            )
        from core.broker.rehearsal import REFUSALS

        broker = f"the broker at {self.address}"
        if isinstance(error, REFUSALS):
            return f"{broker} refuses what must be done there ({error}): mend that, or correct BALLAST_BROKER_URL"
        return f"{broker} does not answer ({error}): start Redis, or correct BALLAST_BROKER_URL"

    def close(self) -> None:
        self._app.close()

    def _transport_options(self, seconds: float = 0.3) -> dict[str, Any]:
        if self._settings.embedded_broker:
            return folder_options(self._settings)
        return {"socket_timeout": seconds, "socket_connect_timeout": seconds, **AT_ONCE}


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
