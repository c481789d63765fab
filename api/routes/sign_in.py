"""Signing in: a browser sends its token once, and has a cookie in its place (api/README.md, "Who may ask")."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.requests import ClientDisconnect

from api.callers import COOKIE, SIGN_IN, require_own_page, token_with, wrong_token
from api.depends import StoreDep
from api.pages import page, prefers_html
from api.parameters import refuse_unknown_query
from api.problems import problem_responses
from core.store import sessions
from core.store.session import Store
from core.store.sessions import NewSession

router = APIRouter(tags=["people"], dependencies=[Depends(refuse_unknown_query)])

_FORM_TYPE = "application/x-www-form-urlencoded"

# A path of this service: what begins with two slashes, or with one and a backslash, is another host to a browser.
_HERE = r"^/([!-.0-\[\]-~][!-\[\]-~]*)?$"
Next = Annotated[
    str, Query(alias="next", pattern=_HERE, max_length=2000, description="Where to go on, on this service.")
]

_PAGE = """<form method="post">
<p><label>Your token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Sign in</button></p>
</form>
<p>Whoever keeps this service makes tokens, by <code>ballast token create</code>. This browser stays signed in for
{days} days at most, or until you sign out.</p>"""
_REFUSED = "<p><strong>This token is not valid here: it is wrong, revoked or expired.</strong></p>\n"

_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
_GO_ON: dict[int | str, dict[str, Any]] = {303: {"description": "Where to go on is said by `Location`."}}
_FORM = {"schema": {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]}}


async def _token_sent(request: Request) -> str:
    """Raises HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise HTTPException(415, f"send the token as a form does: {_FORM_TYPE}")
    try:
        sent = parse_qs((await request.body()).decode(), max_num_fields=10)
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    except ValueError:  # no Unicode, too many fields
        raise HTTPException(400, "the body cannot be read as a form") from None
    if len(sent.get("token", [])) != 1:
        raise HTTPException(422, "send one token, in the field `token`")
    return sent["token"][0].strip()


@router.get(SIGN_IN, response_class=Response, responses=_HTML)
def show_sign_in(next_path: Next = "/") -> Response:  # noqa: ARG001 - the form is sent to the address of the page
    """The page that asks a person for their token."""
    return _page_that_asks()


@router.post(
    SIGN_IN,
    status_code=303,
    response_class=Response,
    responses={**_GO_ON, **problem_responses(400, 401, 413, 415, 429)},
    openapi_extra={"requestBody": {"required": True, "content": {_FORM_TYPE: _FORM}}},
)
def sign_in(
    request: Request,
    secret: Annotated[str, Depends(_token_sent)],
    store: StoreDep,
    next_path: Next = "/",
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """A cookie in the place of a token. A browser with a wrong one sees the page again."""
    try:
        session = _begun(request, store, secret)
    except HTTPException as refused:
        if refused.status_code == 401 and prefers_html(accept):
            return _page_that_asks(_REFUSED, 401, refused.headers)
        raise
    answer = RedirectResponse(next_path, 303)
    answer.set_cookie(COOKIE, session.secret, session.seconds, **_attributes(request))
    return answer


def _begun(request: Request, store: Store, secret: str) -> NewSession:
    """Raises HTTPException: 401 where the secret is of no token that is valid, 429."""
    token = token_with(request, store, secret)
    with store.writing(token.name) as tx:
        session = sessions.begin(tx, token)
    if session is None:
        raise wrong_token()
    return session


@router.post("/sign-out", status_code=303, response_class=Response, responses=_GO_ON)
def sign_out(request: Request, store: StoreDep) -> Response:
    """End the session of this browser."""
    if cookie := request.cookies.get(COOKIE):
        require_own_page(request)
        with store.writing() as tx:
            sessions.end(tx, cookie)
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE, **_attributes(request))
    return answer


def _page_that_asks(first: str = "", status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return page("Sign in to Ballast", first + _PAGE.format(days=sessions.DAYS), status, headers)


def _attributes(request: Request) -> dict[str, Any]:
    """No script reads it, no other site's page sends it; and once it came by TLS, it never goes without."""
    return {"httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}
