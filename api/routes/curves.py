"""The curve of an experiment, as prepared JSON."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api.depends import StoreDep
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from api.schemas import CurveOut
from core.curve import curve_json
from core.store import curves

router = APIRouter(prefix="/experiments", tags=["curves"], dependencies=[Depends(refuse_unknown_query)])


@router.get("/{id}/curve", response_model=CurveOut, responses=problem_responses(404))
def show_curve(
    id: Id,
    store: StoreDep,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only rows after this epoch: a former `next_after`.")] = 0,
) -> Response:
    """The curve, while it grows and after. Ask again with `after=next_after` for exactly what is new."""
    with store.reading() as tx:
        head, rows = curves.read(tx, id, after)
    return Response(orjson.dumps(curve_json(head, rows, after)), media_type="application/json")
