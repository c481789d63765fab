"""What the tests of the API say again and again: a spec as it is sent, and what a problem looks like."""

from pathlib import Path
from typing import Any

from httpx2 import Response

from core.store.files import Files

Json = dict[str, Any]

FILES = Files("memory://")
HOME = Path("/srv/ballast")  # of the service


def spec(**fields: Any) -> Json:
    return {"dataset": {"name": "mnist"}, "importance_weight": "16:1", "epochs": 3, **fields}


def problem(response: Response, status: int) -> Json:
    """The problem that was answered, of the form of CONTRACT §1."""
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
