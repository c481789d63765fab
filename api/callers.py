"""Who calls, and what they may (api/README.md, "Who may ask"): by the token that a request carries, or the cookie of
whoever signed in with it; or on an address that only this machine reaches, by none.
"""

from contextlib import suppress
from typing import Annotated, NamedTuple
from urllib.parse import quote

from fastapi import BackgroundTasks, Depends, HTTPException, Request
from structlog.contextvars import bind_contextvars

from api.depends import StoreDep
from api.pages import prefers_html
from api.parameters import Id
from api.problems import NotSignedIn, limit_headers
from core.store import experiments, sweeps, tokens
from core.store.errors import StoreError
from core.store.session import Store
from core.store.tokens import Token
from core.tokens import LOCAL, Scope

COOKIE, SIGN_IN = "ballast_session", "/sign-in"

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ballast"'}  # of every 401

_MISSING = "this service asks for a token: send `Authorization: Bearer …`, or set BALLAST_TOKEN for the command line"
_WRONG = (
    "this token is not valid here: it is wrong, revoked or expired; whoever keeps the service can make another, and "
    "where none is needed, BALLAST_TOKEN may be left unset"
)
_FORWARDED = (
    "a proxy has forwarded this, and the service does not know of any: name it in BALLAST_TRUSTED_PROXIES, and make "
    "tokens by `ballast token create`"
)
_NOT_OUR_PAGE = (
    "nothing says that a page of our own sent this (Origin, Sec-Fetch-Site), as it must where a cookie says who asks: "
    "a program sends its token"
)


class Caller(NamedTuple):
    name: str  # of the token; `local` without one
    scope: Scope
    token: Token | None = None

    def may_change(self, owner: str) -> bool:
        return self.scope is Scope.ADMIN or self.name == owner


_ANYBODY_HERE = Caller(LOCAL, Scope.ADMIN)


def identified(request: Request, store: Store) -> Caller:
    """Looked up, and counted, once a request. Raises HTTPException: 401 without a token that is valid, 429 where it has
    sent too many; NotSignedIn where a person should sign in."""
    if not hasattr(request.state, "caller"):
        token = _token(request, store)
        request.state.caller = _ANYBODY_HERE if token is None else Caller(token.name, token.scope, token)
    caller: Caller = request.state.caller
    return caller


def token_with(request: Request, store: Store, secret: str) -> Token:
    """Raises HTTPException: 401 where it is of no token that is valid, 429."""
    with store.reading() as tx:
        token = tokens.find(tx, secret)
    if token is None or not token.valid:
        raise wrong_token()
    return _counted(request, token)


def wrong_token() -> HTTPException:
    return HTTPException(401, _WRONG, _CHALLENGE)


def require_own_page(request: Request) -> None:
    """Of what a cookie may do: another site's page could send it as well, were the browser's word missing. That a word
    which is there is right has been seen to by `access`. Raises HTTPException: 403."""
    if request.method != "GET" and not {"origin", "sec-fetch-site"} & set(request.headers):
        raise HTTPException(403, _NOT_OUR_PAGE)


def admitted(request: Request, store: StoreDep, afterwards: BackgroundTasks) -> Caller:
    """Raises HTTPException: 401 without a token that is valid, 403 where its scope is too narrow for the method."""
    caller = identified(request, store)
    if caller.token and caller.token.use_is_old:
        afterwards.add_task(_note_use, store, caller.token)
    needed = Scope.READ if request.method == "GET" else Scope.SUBMIT
    if not caller.scope.allows(needed):
        raise HTTPException(403, f"the token {caller.name} may {caller.scope} only: this needs the scope {needed}")
    return caller


CallerDep = Annotated[Caller, Depends(admitted)]


async def said_in_logs(caller: CallerDep) -> None:
    """Who calls, on every line from here on: in the request's own task, whose context the threads of routes copy."""
    bind_contextvars(owner=caller.name)


def _own_experiment(id: Id, caller: CallerDep, store: StoreDep) -> None:
    if caller.scope is not Scope.ADMIN:
        with store.reading() as tx:
            owner = experiments.owner_of(tx, id)
        _require_own(caller, owner, f"experiment {id}")


def _own_sweep(id: Id, caller: CallerDep, store: StoreDep) -> None:
    if caller.scope is not Scope.ADMIN:
        with store.reading() as tx:
            owner = sweeps.owner_of(tx, id)
        _require_own(caller, owner, f"sweep {id}")


# Of a route that changes one. Owners never change, so that looking before the change is enough.
OWN_EXPERIMENT = Depends(_own_experiment)
OWN_SWEEP = Depends(_own_sweep)


def _token(request: Request, store: Store) -> Token | None:
    """None: whoever is on this machine."""
    sent = request.headers.getlist("authorization")
    if sent:
        scheme, _, secret = sent[0].partition(" ")
        if len(sent) > 1 or scheme.lower() != "bearer":
            raise HTTPException(401, _MISSING, _CHALLENGE)
        return token_with(request, store, secret.strip())
    if token := _token_of_cookie(request, store):
        require_own_page(request)
        return _counted(request, token)
    if request.app.state.needs_token:
        if request.method == "GET" and prefers_html(request.headers.get("accept", "")):
            raise NotSignedIn(_sign_in_first(request))
        raise HTTPException(401, _MISSING, _CHALLENGE)
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        raise HTTPException(403, _FORWARDED)
    return None


def _token_of_cookie(request: Request, store: Store) -> Token | None:
    """One that is over, or of another service of this host, is none."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    with store.reading() as tx:
        token = tokens.of_session(tx, cookie)
    return token if token and token.valid else None


def _sign_in_first(request: Request) -> str:
    query = request.url.query
    here = quote(request.scope["path"], errors="replace") + (f"?{query}" if query else "")
    return f"{SIGN_IN}?next={quote(here, safe='/')}"


def _counted(request: Request, token: Token) -> Token:
    """Raises HTTPException: 429."""
    per_minute = token.quotas.per_minute
    refused = None if per_minute is None else request.app.state.pace.refusal(token.name, per_minute)
    if per_minute is not None and refused is not None:
        raise HTTPException(
            429,
            f"the token {token.name} may send {per_minute} requests a minute: go on in {refused.seconds} s",
            limit_headers("per-minute", per_minute, refused.left, refused.seconds, per=60),
        )
    return token


def _note_use(store: Store, token: Token) -> None:
    """After the answer, which must not wait for who writes; a database that only reads keeps no time of use."""
    with suppress(StoreError), store.writing() as tx:
        tokens.note_use(tx, token)


def _require_own(caller: Caller, owner: str, what: str) -> None:
    if not caller.may_change(owner):
        raise HTTPException(403, f"{what} is {owner}'s: only {owner} and tokens of scope admin may change it")
