"""Who calls, and what they may (api/README.md, "Who may ask"): by the token that a request carries, or on an address
that only this machine reaches, by none.
"""

from typing import Annotated, NamedTuple

from fastapi import Depends, HTTPException, Request

from api.depends import StoreDep
from api.parameters import Id
from core.store import experiments, sweeps, tokens
from core.store.session import Store
from core.tokens import LOCAL, Scope

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ballast"'}  # of every 401

_MISSING = "this service asks for a token: send `Authorization: Bearer …`, or set BALLAST_TOKEN for the command line"
_WRONG = "this token is not valid here: it is wrong, revoked or expired; whoever keeps the service can make another"


class Caller(NamedTuple):
    name: str  # of the token; `local` without one
    scope: Scope

    def may_change(self, owner: str) -> bool:
        return self.scope is Scope.ADMIN or self.name == owner


_ANYBODY_HERE = Caller(LOCAL, Scope.ADMIN)


def admitted(request: Request, store: StoreDep) -> Caller:
    """Raises HTTPException: 401 without a token that is valid, 403 where its scope is too narrow for the method."""
    caller = _caller(request, store)
    needed = Scope.READ if request.method == "GET" else Scope.SUBMIT
    if not caller.scope.allows(needed):
        raise HTTPException(403, f"the token {caller.name} may {caller.scope} only: this needs the scope {needed}")
    return caller


CallerDep = Annotated[Caller, Depends(admitted)]


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
        return _ANYBODY_HERE
    if not sent:
        raise HTTPException(401, _MISSING, CHALLENGE)
    scheme, _, secret = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer":
        raise HTTPException(401, _MISSING, CHALLENGE)
    return _caller_with(secret.strip(), store)


def _caller_with(secret: str, store: Store) -> Caller:
    with store.reading() as tx:
        token = tokens.find(tx, secret)
    if token is None or not token.valid:
        raise HTTPException(401, _WRONG, CHALLENGE)
    if token.use_is_old:
        with store.writing() as tx:
            tokens.note_use(tx, token.name)
    return Caller(token.name, token.scope)


def _require_own(caller: Caller, owner: str, what: str) -> None:
    if not caller.may_change(owner):
        raise HTTPException(403, f"{what} is {owner}'s: only {owner} and tokens of scope admin may change it")
