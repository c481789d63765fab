"""The Python client: HTTP and nothing else. The command line stands on it.

ClientError            a BallastError
├── Unreachable        nobody answers at the address
└── Refused            an answer of 400 or more, with its problem
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2

from core.errors import BallastError
from core.faults import Fault

Json = dict[str, Any]


class ClientError(BallastError):
    """The service did not do what was asked."""


class Unreachable(ClientError):
    """Nobody answers."""


class Refused(ClientError):
    """The service answered with a problem."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        super().__init__(_faults(problem) or str(problem.get("detail") or f"HTTP {status}"))


class Client:
    """Talks to one Ballast service. Every method raises Unreachable or Refused, and returns the JSON of CONTRACT §1."""

    def __init__(self, url: str, timeout_seconds: float = 30) -> None:
        self.url = url
        # Only what never reached the service is sent again. It is on loopback: no proxy comes between.
        transport = httpx2.HTTPTransport(retries=2)
        try:
            self._http = httpx2.Client(base_url=url, timeout=timeout_seconds, transport=transport, trust_env=False)
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        self._http.close()

    def submit(self, spec: Json, priority: int = 0) -> Json:
        # Not by httpx, which stumbles over NaN and half a surrogate pair: the service names the field.
        content = json.dumps(spec).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask("POST", "/experiments", content=content, headers=headers, params={"priority": priority})

    def experiments(self, limit: int = 50, **filters: str | None) -> Iterator[Json]:
        """The newest `limit` experiments that match, page by page."""
        cursor: str | None = None
        while limit > 0:
            wanted = {"limit": min(limit, 500), "cursor": cursor, **filters}
            page = self._get("/experiments", {name: value for name, value in wanted.items() if value is not None})
            yield from page["items"]
            cursor = page["next_cursor"]
            limit -= len(page["items"])
            if cursor is None:
                return

    def experiment(self, id: int) -> Json:  # noqa: A002 - the contract's name
        return self._get(f"/experiments/{id}")

    def curve(self, id: int, after: int = 0) -> Json:  # noqa: A002
        return self._get(f"/experiments/{id}/curve", {"after": after})

    def events(self, id: int) -> list[Json]:  # noqa: A002
        items: list[Json] = self._get(f"/experiments/{id}/events")["items"]
        return items

    def cancel(self, id: int) -> Json:  # noqa: A002
        return self._ask("POST", f"/experiments/{id}/cancel")

    def workers(self) -> list[Json]:
        items: list[Json] = self._get("/workers")["items"]
        return items

    def ready(self) -> Json:
        return self._get("/readyz")

    def _get(self, path: str, params: Json | None = None) -> Json:
        return self._ask("GET", path, params=params)

    def _ask(self, method: str, path: str, **content: Any) -> Json:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Unreachable(f"what answers at {self.url} is not Ballast: set BALLAST_URL")
        if response.status_code >= 400:
            raise Refused(response.status_code, answer)
        return answer

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"no Ballast service answers at {self.url} ({error}): start one with `ballast up`, or set BALLAST_URL"
        )


def _faults(problem: Json) -> str:
    try:
        faults = [Fault(each["pointer"], each["detail"], each["value"], each["allowed"]) for each in problem["errors"]]
    except (KeyError, TypeError):  # none, or another service's
        return ""
    return "; ".join(map(str, faults))
