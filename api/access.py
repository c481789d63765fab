"""Which requests are let in: by names of this service only, from no web page of anybody else (api/README.md, "Who may
ask"). Who sends them, and what they may, is the concern of `callers`.

Being on loopback does not make a request trusted: every page that a browser on this host opens can send one.
Here is also what holds for every path alike: HEAD, and a slash at its end.
"""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.problems import MAX_BODY, TOO_LARGE, problem

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})

_HOST = re.compile(r"(\[[0-9a-f:]+\]|[^:]+)(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Access:
    """ASGI middleware: names the request, then lets it in, as far as its body is not too large, or answers 403.

    HEAD is answered as GET is, but for the body; with a slash at the end of its path as without one."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = LOOPBACK_HOSTS) -> None:
        self._app = app
        self._hosts = hosts  # in small letters, as `Host` may say them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        is_head = scope["method"] == "HEAD"
        scope = {**scope, "method": "GET" if is_head else scope["method"], "path": _without_last_slash(scope["path"])}

        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                raise HTTPException(413, TOO_LARGE)
            return message

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        refusal = _refusal(scope["scheme"], headers, self._hosts)
        app = self._app
        if refusal:
            app = problem(scope, 403, refusal)
        elif _announced_length(headers) > MAX_BODY:
            app = problem(scope, 413, TOO_LARGE)
        clear_contextvars()  # what is said on every line of a request; each is a task of its own, and that its end
        bind_contextvars(request_id=request_id)
        await app(scope, receive_limited, send_with_id)


def _without_last_slash(path: str) -> str:
    """A redirect would say the same, but a POST is not sent again by itself. Of two slashes none is taken."""
    return path[:-1] if path.endswith("/") and not path.endswith("//") and path != "/" else path


def _announced_length(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


def _request_id(sent: str | None) -> str:
    return sent if sent and _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _refusal(scheme: str, headers: Headers, known: frozenset[str]) -> str | None:
    hosts = headers.getlist("host")
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None or match.group(1).lower() not in known:
        return f"this Host is not known here: use {_either(known)}"
    origins = headers.getlist("origin")
    if origins and origins != [f"{scheme}://{hosts[0]}"]:
        return "this Origin is another site's: no page but our own may call the API"
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        return "this request was sent by another site's page: no page but our own may call the API"
    return None


def _either(hosts: frozenset[str]) -> str:
    *others, last = [*sorted(hosts & LOOPBACK_HOSTS), *sorted(hosts - LOOPBACK_HOSTS)]
    return f"{', '.join(others)} or {last}"
