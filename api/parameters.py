"""Path and query parameters that several routes share, and the refusal of those that a route does not have.

One that a single route takes stands in its signature; what comes in a body is in api.schemas.
"""

import re
from collections.abc import Sequence
from typing import Annotated, get_origin

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator

from api.problems import error_details
from core.states import DeviceType


def _canonical(text: str) -> str:
    """One experiment, one address: pydantic would read " 1", "+1", "1.0" and "0_1" as 1. Raises ValueError."""
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise ValueError(text)
    return text


Id = Annotated[int, BeforeValidator(_canonical), Path(ge=1, examples=[417])]
Priority = Annotated[int, Query(ge=-100, le=100, description="One point is worth an hour of waiting.")]
Device = Annotated[
    DeviceType, Query(description="On what it may train; it decides no curve. What is in tf32 is for a GPU.")
]
DeviceOrAsBefore = Annotated[
    DeviceType | None, Query(description="On what it may train; by default that of what it goes on from, or grows.")
]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of a page.")]


def refuse_unknown_query(request: Request) -> None:
    """A query parameter that is mistyped, or given again, and ignored gives a wrong answer without a word. Raises
    RequestValidationError."""
    known = {param.alias: param for param in request.scope["route"].dependant.query_params}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError([error_details("extra_forbidden", "query", name) for name in unknown])
    single = [name for name, param in known.items() if get_origin(param.field_info.annotation) is not Sequence]
    repeated = [name for name in single if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise RequestValidationError([error_details("repeated", "query", name) for name in repeated])
