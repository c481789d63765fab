"""Requests that make something, once: under an Idempotency-Key the same request again is answered as the first was.

A route that makes something takes `once: OnceDep`, which opens its transaction, and returns what that returns:

    @router.post("/{id}/copy", status_code=201, response_model=ExperimentOut, responses={201: LOCATION_HEADERS})
    def copy(id: Id, once: OnceDep, doorbell: DoorbellDep) -> Response:
        answer = once(lambda tx: response_with_location(experiments_out(tx, [experiments.copy(tx, id)])[0]))
        doorbell.ring()
        return answer

Whatever is raised in there undoes everything: the key has never been used. A path that other work precedes looks for
`once.replay()` first, since that work may be out of date.
"""

import hashlib
import json
import re
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from api.callers import Caller, CallerDep
from api.depends import StoreDep
from api.problems import error_details
from api.schemas import ExperimentOut, SweepOut
from core.store import idempotency
from core.store.idempotency import KeyedRequest
from core.store.session import Store
from core.tokens import LOCAL

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_ALLOWED = '1 to 255 visible ASCII characters, as they are or in double quotes, then without " and \\ among them'
_KEY = r'"([!#-\[\]-~]{1,255})"|([!#-~][!-~]{0,254})'

LOCATION_HEADERS: dict[str, Any] = {
    "headers": {
        "Location": {"schema": {"type": "string"}, "description": "Where it is."},
        REPLAYED: {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "This was answered before, under the same key; nothing was made.",
        },
    }
}


def _unquoted_key(sent: str) -> str:
    """The key itself: `"abc"` and `abc` are one. Raises PydanticCustomError."""
    found = re.fullmatch(_KEY, sent)
    if found is None:
        raise PydanticCustomError("idempotency_key", "is no key", {"allowed": _ALLOWED})
    return found[1] or found[2]


Key = Annotated[
    str,
    BeforeValidator(_unquoted_key),
    WithJsonSchema({"type": "string", "pattern": f"^({_KEY})$", "examples": ["5f0c1c0e-6d0f-4a57-9d3b-2f6a1f9f1b52"]}),
]


def response_with_location(out: ExperimentOut | SweepOut, status: int = 201) -> Response:
    """What was made, or with 200 what there is already, and where it is."""
    return Response(out.model_dump_json(), status, {"Location": out.links.self}, "application/json")


class Once:
    """Answers one request, in a transaction of its own. Without a key every request is another."""

    def __init__(self, store: Store, caller: Caller, key: str | None, request: Request, body: bytes) -> None:
        self._store = store
        self._caller = caller
        self._key = key
        self._request = request
        self._body = body

    def __call__(self, make: Callable[[Connection], Response]) -> Response:
        """What `make` returns, or what was answered to the same request before. Raises KeyReused."""
        keyed = self._keyed_request
        with self._store.writing(self._caller.name) as tx:
            if keyed is None:
                return make(tx)
            kept = idempotency.begin(tx, keyed)
            if kept is not None:
                return _response_from(kept)
            answer = make(tx)
            idempotency.keep(tx, keyed, _text_of(answer))
            return answer

    def replay(self) -> Response | None:
        """What was answered to the same request, if it was. Raises KeyReused."""
        if self._keyed_request is None:
            return None
        with self._store.reading() as tx:
            kept = idempotency.find(tx, self._keyed_request)
        return None if kept is None else _response_from(kept)

    @cached_property
    def _keyed_request(self) -> KeyedRequest | None:
        if self._key is None:
            return None
        path = self._request.url.path
        route = path if self._caller.name == LOCAL else f"{self._caller.name} {path}"  # a key is its sender's own
        return KeyedRequest(route, self._key, _fingerprint(self._request, self._body))


async def _once(
    request: Request,
    store: StoreDep,
    caller: CallerDep,
    key: Annotated[
        Key | None,
        Header(
            alias=HEADER,
            description="The same request again under the same key, within 24 hours, makes nothing: it is answered as "
            f"the first was. {_ALLOWED}.",
        ),
    ] = None,
) -> Once:
    if len(request.headers.getlist(HEADER)) > 1:
        raise RequestValidationError([error_details("repeated", "header", HEADER)])
    return Once(store, caller, key, request, await request.body())


OnceDep = Annotated[Once, Depends(_once)]


def _fingerprint(request: Request, body: bytes) -> str:
    """The same for the same query and the same JSON, however they are written."""
    content = [sorted(request.query_params.items()), json.loads(body or b"null", parse_float=_number)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _number(text: str) -> float:
    """1.0 is 1."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _text_of(answer: Response) -> str:
    body = bytes(answer.body).decode()
    return json.dumps({"status": answer.status_code, "location": answer.headers["Location"], "body": body})


def _response_from(text: str) -> Response:
    kept = json.loads(text)
    headers = {"Location": kept["location"], REPLAYED: "true"}
    return Response(kept["body"], kept["status"], headers, "application/json")
