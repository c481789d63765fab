"""Celery over a folder, for the embedded mode: kombu's filesystem transport with its races mended (worker/README.md,
"Brokers").

As shipped it writes messages and exchange tables in place, so that another process reads half a file and dies of it.
Here a file appears whole or not at all, and a message is taken by renaming it.
"""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any

import structlog
from filelock import FileLock
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = structlog.get_logger()


class Channel(filesystem.Channel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._make_folders()

    def get_table(self, exchange: str) -> list[Any]:
        file = _exchange_file(self, exchange)
        if not file.is_file():  # a pipe would never end
            return []
        try:
            return [filesystem.exchange_queue_t(*queue) for queue in loads(file.read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, RecursionError):  # no table, and nothing is lost: who listens binds again
            return []

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: table if binding in table else [binding, *table])

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        # Not the filesystem's own `_delete`, which rewrites the table in place; the one above it.
        super(filesystem.Channel, self)._delete(queue, exchange, routing_key, pattern, *args, **kwargs)
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: [other for other in table if other != binding])

    def _change_table(self, exchange: str, change: Callable[[list[Any]], list[Any]]) -> None:
        file = _exchange_file(self, exchange)
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            before = self.get_table(exchange)
            after = change(before)
            if after != before:
                _write_whole(file, dumps(after))

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # two bases disagree
        self._make_folders()
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - kombu's signature
        folder = Path(self.data_folder_in)
        for name in sorted(file.name for file in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg" or not (folder / name).is_file():
                continue
            taken = folder / f".{name}.{os.getpid()}"
            try:
                (folder / name).rename(taken)
                text = taken.read_bytes()
                taken.unlink()
            except OSError:
                continue  # another worker took it, or it is no file
            message = _message_in(text)
            if message is not None:
                return message
        raise Empty

    def _make_folders(self) -> None:
        """Again and again: somebody may have removed them. Who listens there finds out, and connects and binds anew."""
        for folder in (Path(self.data_folder_out), self.control_folder):
            folder.mkdir(parents=True, exist_ok=True)


class Transport(filesystem.Transport):
    Channel = Channel


def _message_in(text: bytes) -> dict[str, Any] | None:
    try:
        message = loads(text)
        if isinstance(message, dict):
            return message
        fault = f"not an object but {type(message).__name__}"
    except (ValueError, TypeError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
    log.warning("dropped a message that is no ring", fault=fault[:200])
    return None


def _exchange_file(channel: Any, exchange: str) -> Path:
    file: Path = channel._exchange_file(exchange)  # refuses names that would leave the folder; unknown to the stubs
    return file


def _write_whole(file: Path, text: str) -> None:
    hidden = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    hidden.write_text(text)
    hidden.replace(file)
