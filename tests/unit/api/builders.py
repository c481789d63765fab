"""What the tests of the API say again and again: a spec as it is sent, and what a problem looks like."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response
from starlette.types import Message, Scope

from core.store.files import Files

Json = dict[str, Any]

FILES = Files("memory://")
HOME = Path("/srv/ballast")  # of the service


def spec(**fields: Any) -> Json:
    return {"dataset": {"name": "mnist"}, "importance_weight": "16:1", "epochs": 3, **fields}


def raw_messages(
    client: TestClient, method: str, path: str, headers: Mapping[str, str] = {}, sent: Sequence[Message] = ()
) -> list[Message]:
    """The messages by which the application answers, with nothing in between that mends them, or the request."""
    encoded = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:8000", **headers}.items()]
    scope: Scope = {"type": "http", "method": method, "path": path, "headers": encoded, "query_string": b""}
    messages = iter([*sent, {"type": "http.request"}])
    answered: list[Message] = []

    async def receive() -> Message:
        message = next(messages, None)
        return message or await asyncio.Future()  # whoever waits for more, waits until the answer is there

    async def send(message: Message) -> None:
        answered.append(message)

    asyncio.run(client.app({**scope, "scheme": "http", "client": ("127.0.0.1", 1)}, receive, send))
    return answered


def problem(response: Response, status: int) -> Json:
    """The problem that was answered, of the form that it must have (api/README.md, "Errors")."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    for fault in body.get("errors", []):
        assert set(fault) == {"pointer", "detail", "value", "allowed"}
    return body
