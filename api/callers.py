"""Who calls, and what they may (api/README.md, "Who may ask"): by the token that a request carries, or on an address
that only this machine reaches, by none.
"""

from contextlib import suppress
from typing import Annotated, NamedTuple

from fastapi import BackgroundTasks, Depends, HTTPException, Request
from structlog.contextvars import bind_contextvars

from api.depends import StoreDep
from api.parameters import Id
from core.store import experiments, sweeps, tokens
from core.store.errors import StoreError
from core.store.session import Store
from core.store.tokens import Token
from core.tokens import LOCAL, Scope

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


class Caller(NamedTuple):
    name: str  # of the token; `local` without one
    scope: Scope
    token: Token | None = None

    def may_change(self, owner: str) -> bool:
        return self.scope is Scope.ADMIN or self.name == owner


_ANYBODY_HERE = Caller(LOCAL, Scope.ADMIN)


def identified(request: Request, store: Store) -> Caller:
    """Looked up once a request. Raises HTTPException: 401 without a token that is valid."""
    if not hasattr(request.state, "caller"):
        request.state.caller = _caller(request, store)
    caller: Caller = request.state.caller
    return caller


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


def _caller(request: Request, store: Store) -> Caller:
    sent = request.headers.getlist("authorization")
    if not sent and not request.app.state.needs_token:
        if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
            raise HTTPException(403, _FORWARDED)
        return _ANYBODY_HERE
    if not sent:
        raise HTTPException(401, _MISSING, _CHALLENGE)
    scheme, _, secret = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer":
        raise HTTPException(401, _MISSING, _CHALLENGE)
    return _caller_with(secret.strip(), store)


def _caller_with(secret: str, store: Store) -> Caller:
    with store.reading() as tx:
        token = tokens.find(tx, secret)
    if token is None or not token.valid:
        raise HTTPException(401, _WRONG, _CHALLENGE)
    return Caller(token.name, token.scope, token)


def _note_use(store: Store, token: Token) -> None:
    """After the answer, which must not wait for who writes; a database that only reads keeps no time of use."""
    with suppress(StoreError), store.writing() as tx:
        tokens.note_use(tx, token)


def _require_own(caller: Caller, owner: str, what: str) -> None:
    if not caller.may_change(owner):
        raise HTTPException(403, f"{what} is {owner}'s: only {owner} and tokens of scope admin may change it")
