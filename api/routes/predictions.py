"""What is kept beside a curve: predictions, image by image, and the weights at the end."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.depends import StoreDep
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from api.schemas import PredictionsOut
from api.views import predictions_out
from core.store import predictions

router = APIRouter(prefix="/experiments", tags=["curves"], dependencies=[Depends(refuse_unknown_query)])


@router.get("/{id}/predictions", responses=problem_responses(404))
def show_predictions(
    id: Id,
    store: StoreDep,
    epoch: Annotated[int | None, Query(ge=1, le=2**53, description="By default the last that is kept.")] = None,
) -> PredictionsOut:
    """Predictions of the 1st, 2nd, 4th, 8th, … and of the last 50 evaluated epochs."""
    with store.reading() as tx:
        return predictions_out(predictions.read(tx, id, epoch))


@router.get(
    "/{id}/weights",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(404),
    },
)
def download_weights(id: Id, store: StoreDep) -> Response:
    """The weights after the last epoch, as safetensors, with the spec in their metadata."""
    with store.reading() as tx:
        content = predictions.read_weights(tx, id)
    name = {"Content-Disposition": f'attachment; filename="experiment-{id}.safetensors"'}
    return Response(content, media_type="application/octet-stream", headers=name)
