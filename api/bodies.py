"""Bodies: each says that it is JSON, is read by JSON's own rules, and says nothing twice."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api.callers import identified
from api.problems import error_details
from core.reading import RepeatedName, parse_json


class JsonRoute(APIRoute):
    """Reads the body of a route that takes one. FastAPI's own reading takes a name that is there twice, and refuses a
    number of 4301 digits without saying where."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_and_handle(request: Request) -> Response:
            if request.app.state.needs_token:  # nobody's body is read before we know whose it is
                await run_in_threadpool(identified, request, request.app.state.store)
            json_request = _JsonRequest(request.scope, request.receive)
            await json_request.read()
            return await handle(json_request)

        return read_and_handle


class _JsonRequest(Request):
    _value: Any = None

    async def read(self) -> None:
        _refuse_other_forms(self)
        try:
            body = await self.body()
        except ClientDisconnect:
            raise HTTPException(400, "the body broke off") from None
        if body:  # one that is empty is missing, as FastAPI says itself
            self._value = _value_of(body)

    async def json(self) -> Any:
        return self._value


def _refuse_other_forms(request: Request) -> None:
    """A form can be sent by any page of the web, without asking; and nothing here unpacks."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "send the body as application/json")
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if not {coding.strip().lower() for coding in codings} <= {"identity", ""}:
        raise HTTPException(415, "send the body as it is, without a Content-Encoding", {"Accept-Encoding": "identity"})


def _value_of(body: bytes) -> Any:
    try:
        return parse_json(body)
    except RepeatedName as error:
        raise RequestValidationError([error_details("repeated", "body", message=f"is ambiguous: {error}")]) from None
    except json.JSONDecodeError as error:
        raise HTTPException(422, f"the body is not JSON: {error}") from None
    except (UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "the body cannot be read as JSON") from None
