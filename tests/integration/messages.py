"""What lies in the queue: rings as kombu writes them, with whatever is wrong with them, and how they get there."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import redis

from core.broker import QUEUE
from core.broker.doorbell import TASK
from core.settings import Settings
from tests.servers import wait_until

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
PLAIN_BODY = b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def message(body: bytes = PLAIN_BODY, content_type: str = "application/json", **headers: Any) -> dict[str, Any]:
    """A ring as kombu writes it, with another body and other headers."""
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": {"lang": "py", "task": TASK, "id": str(uuid.uuid4()), "retries": 0, **headers},
        "properties": {
            "body_encoding": "base64",
            "correlation_id": str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
            "priority": 0,
        },
    }


def without(key: str, *of: str) -> dict[str, Any]:
    """A ring that lacks something."""
    whole = message()
    part = whole
    for name in of:
        part = part[name]
    del part[key]
    return whole


class OnRedis:
    """The queue of a broker."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis.Redis.from_url(settings.broker_url)

    def lay(self, *messages: bytes) -> None:
        self._client.lpush(QUEUE, *messages)

    def is_empty(self) -> bool:
        return self._client.llen(QUEUE) == 0

    def close(self) -> None:
        self._client.close()


class InFolder:
    """The queue of a host without a broker."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.queue_dir / "messages"
        self._numbers = count()

    def lay(self, *messages: bytes) -> None:
        for each in messages:
            name = f"{next(self._numbers):05d}_x.{QUEUE}.msg"
            (self._folder / f".{name}").write_bytes(each)  # nobody reads half of it
            (self._folder / f".{name}").rename(self._folder / name)

    def is_empty(self) -> bool:
        return not list(self._folder.glob(f"*.{QUEUE}.msg"))

    def close(self) -> None:
        pass


Queue = OnRedis | InFolder


def queue_of(settings: Settings) -> Queue:
    return InFolder(settings) if settings.embedded_broker else OnRedis(settings)


def put(queue: Queue, *messages: bytes) -> None:
    """Lays them there and waits until they are taken."""
    queue.lay(*messages)
    wait_until(queue.is_empty)
