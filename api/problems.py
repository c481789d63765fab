"""Every error as an RFC 9457 problem: one sentence; for a bad body each field and what is allowed.

`install` is the table of which error becomes which status (api/README.md, "Errors").
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.schemas import Problem
from core.errors import BallastError
from core.faults import Fault, Schema, excerpt, fault_of
from core.states import DeviceType
from core.store.errors import (
    KeyReused,
    NotAllowed,
    NotFound,
    NothingExtended,
    NotKept,
    NotLonger,
    QueueFull,
    StoreError,
    WrongDevice,
)
from core.sweep_faults import BadSweep

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
MAX_FAULTS = 100  # that are named; a body can have a hundred thousand
MAX_BODY = 1024 * 1024  # bytes; a spec is a few hundred
TOO_LARGE = f"the body is larger than {MAX_BODY} bytes"


class RefusedQuery(BallastError):
    """A query parameter that is well formed, but fits nothing that is there."""

    def __init__(self, status: int, name: str, detail: str, value: Any, allowed: str | None = None) -> None:
        self.status, self.fault = status, Fault(f"?{name}", detail, excerpt(value), allowed)
        super().__init__(str(self.fault))


class NotSignedIn(BallastError):
    """A browser whose person should sign in, to go on to `location` then."""

    def __init__(self, location: str) -> None:
        super().__init__("sign in first")
        self.location = location


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that may answer with these problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def problem(
    scope: Scope, status: int, detail: str, faults: Sequence[Fault] = (), headers: dict[str, str] | None = None
) -> Response:
    request_id = scope["state"]["request_id"]
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=quote(scope["path"], errors="replace"),
        request_id=request_id,
    ).model_dump(exclude={"errors"})
    if faults:
        body["errors"] = [asdict(fault) for fault in faults]
    # orjson stumbles over an integer of more than 64 bits, and half a surrogate pair is no Unicode in any writing.
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, status, {**(headers or {}), "X-Request-ID": request_id}, MEDIA_TYPE)


def error_details(kind: str, *loc: str, message: str = "is there more than once") -> dict[str, Any]:
    """What is wrong at `loc`, as pydantic would say it: one of those that a RequestValidationError is made of."""
    return {"type": kind, "loc": loc, "msg": message, "input": None}


def install(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RefusedQuery, _refused_query)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(NotKept, _not_found)
    app.add_exception_handler(BadSweep, _bad_sweep)
    app.add_exception_handler(NotAllowed, _not_allowed)
    app.add_exception_handler(NothingExtended, _not_allowed)
    app.add_exception_handler(NotLonger, _not_longer)
    app.add_exception_handler(WrongDevice, _wrong_device)
    app.add_exception_handler(KeyReused, _key_reused)
    app.add_exception_handler(QueueFull, _queue_full)
    app.add_exception_handler(NotSignedIn, _not_signed_in)
    app.add_exception_handler(StoreError, _unavailable)
    app.add_exception_handler(Exception, _internal)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    for each in details:
        if each["loc"][0] == "path":
            name = each["loc"][1]
            if name == "id":
                return problem(request.scope, 404, "there is nothing here: ids are whole numbers above 0")
            sent, there = excerpt(request.path_params[name]), each["ctx"]["expected"].replace("'", "")
            return problem(request.scope, 404, f"there is nothing of the name {sent}: there are {there}")
    faults = [_fault(each, error.body, request) for each in details[:MAX_FAULTS]]
    more = f"; and {len(details) - 1} more" if len(details) > 1 else ""
    return problem(request.scope, 422, f"{faults[0]}{more}", faults)


def _fault(details: Any, body: Any, request: Request) -> Fault:
    source, *rest = details["loc"]
    details["loc"] = tuple(rest)
    match source:
        case "body":
            return fault_of(details, body, _schema(request, source))
        case "header":
            (name,) = rest
            fault = fault_of(details, {name: request.headers.get(name)}, _schema(request, source))
            return replace(fault, pointer=name)
        case _:
            schema = _schema(request, source)
            fault = fault_of(details, _query(request, schema), schema)
            return replace(fault, pointer=f"?{rest[0]}" if rest else "?")


def _schema(request: Request, source: str) -> Schema:
    """The JSON schema of what this route takes, from the document that we publish."""
    document = request.app.openapi()
    operation = document["paths"][request.scope["route"].path_format][request.method.lower()]
    if source == "body":
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
    else:
        parameters = [each for each in operation.get("parameters", []) if each["in"] == source]
        schema = {"properties": {each["name"]: _sendable(each["schema"]) for each in parameters}}
    return {**schema, "$defs": document["components"]["schemas"]}


def _query(request: Request, schema: Schema) -> dict[str, Any]:
    """What was sent, lists as lists."""
    lists = [name for name, each in schema["properties"].items() if each.get("type") == "array"]
    return dict(request.query_params) | {name: request.query_params.getlist(name) for name in lists}


def _sendable(schema: Schema) -> Schema:
    """`null` is how a parameter that was not sent reaches us; nobody can send it."""
    sendable: Schema = next((each for each in schema.get("anyOf", []) if each.get("type") != "null"), schema)
    return sendable


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = "there is nothing at this path: /docs lists what there is"
    if error.status_code == 405:
        detail = f"{request.method} is not for this path"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed_methods(request, headers["Allow"])
    return problem(request.scope, error.status_code, detail, headers=headers)


def _allowed_methods(request: Request, of_the_first: str) -> str:
    """Of all routes at this path; Starlette names only those of the first. None are documented of /docs."""
    path = getattr(request.scope.get("route"), "path_format", None)
    operations = request.app.openapi()["paths"].get(path)
    methods = {method.upper() for method in operations or of_the_first.split(", ")}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _bad_sweep(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadSweep)
    return problem(request.scope, 422, str(error), error.faults)


async def _not_longer(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotLonger)
    fault = Fault("/epochs", "is not longer", error.wanted, f"more than {error.epochs}")
    return problem(request.scope, 422, str(error), [fault])


async def _wrong_device(request: Request, error: Exception) -> Response:
    assert isinstance(error, WrongDevice)
    fault = Fault("?device", f"is none that computes in {error.precision}", DeviceType.CPU, "any or gpu")
    return problem(request.scope, 422, str(error), [fault])


async def _refused_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedQuery)
    return problem(request.scope, error.status, str(error), [error.fault])


async def _not_found(request: Request, error: Exception) -> Response:
    return problem(request.scope, 404, str(error))


async def _not_allowed(request: Request, error: Exception) -> Response:
    return problem(request.scope, 409, str(error))


async def _key_reused(request: Request, error: Exception) -> Response:
    return problem(request.scope, 422, str(error))


def limit_headers(name: str, quota: int, left: int, seconds: int, per: int | None = None) -> dict[str, str]:
    """Of a 429: how much of what one may have, a while (`per` seconds) or at once, and when to try again (the IETF's
    draft-ietf-httpapi-ratelimit-headers)."""
    window = "" if per is None else f";w={per}"
    return {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"{name}";q={quota}{window}',
        "RateLimit": f'"{name}";r={left};t={seconds}',
    }


async def _queue_full(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFull)
    return problem(request.scope, 429, str(error), headers=limit_headers("max-queued", error.limit, error.left, 60))


async def _not_signed_in(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotSignedIn)
    return RedirectResponse(error.location, 303, {"Vary": "Accept", "Cache-Control": "no-store"})


async def _unavailable(request: Request, error: Exception) -> Response:
    detail = str(error)
    if request.app.state.needs_token and not hasattr(request.state, "caller"):  # it may name hosts and users
        log.error("the store does not answer", error=detail, request_id=request.state.request_id)
        detail = "the service cannot do this now: its log says why, under this request_id"
    return problem(request.scope, 503, detail, headers={"Retry-After": "2"})


async def _internal(request: Request, error: Exception) -> Response:
    log.error("our fault", path=request.url.path, exc_info=error)
    return problem(request.scope, 500, "this is our fault; the log of the API has the rest under this request_id")
