"""What routes ask for: the store, the doorbell, the checkpoints, and the manners that all requests share."""

import re
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator

from core.broker.doorbell import Doorbell
from core.store.files import Files
from core.store.session import Store


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _doorbell(request: Request) -> Doorbell:
    doorbell: Doorbell = request.app.state.doorbell
    return doorbell


def _files(request: Request) -> Files:
    files: Files = request.app.state.files
    return files


def _canonical(text: str) -> str:
    """One experiment, one address: pydantic would read " 1", "+1", "1.0" and "0_1" as 1. Raises ValueError."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(text)
    return text


StoreDep = Annotated[Store, Depends(_store)]
DoorbellDep = Annotated[Doorbell, Depends(_doorbell)]
FilesDep = Annotated[Files, Depends(_files)]
Id = Annotated[int, BeforeValidator(_canonical), Path(ge=1, examples=[417])]


def known_query(request: Request) -> None:
    """A query parameter that is mistyped, or given again, and ignored gives a wrong answer without a word."""
    known = {param.alias for param in request.scope["route"].dependant.query_params}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError([fault("extra_forbidden", "query", name) for name in unknown])
    repeated = [name for name in request.query_params if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise RequestValidationError([fault("repeated", "query", name) for name in repeated])


def fault(kind: str, *loc: str, message: str = "is there more than once") -> dict[str, Any]:
    return {"type": kind, "loc": loc, "msg": message, "input": None}
