"""What is kept beside a curve: predictions, image by image, and the weights at the end."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.depends import Id, StoreDep, known_query
from api.problems import documented
from api.schemas import PredictionsOut
from core.store import predictions

router = APIRouter(prefix="/experiments", tags=["curves"], dependencies=[Depends(known_query)])


@router.get("/{id}/predictions", responses=documented(404))
def show_predictions(
    id: Id,
    store: StoreDep,
    epoch: Annotated[int | None, Query(ge=1, le=2**53, description="By default the last that is kept.")] = None,
) -> PredictionsOut:
    """Predictions of the 1st, 2nd, 4th, 8th, … and of the last 50 evaluated epochs."""
    with store.reading() as tx:
        return PredictionsOut.of(predictions.read(tx, id, epoch))


@router.get(
    "/{id}/weights",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **documented(404),
    },
)
def download_weights(id: Id, store: StoreDep) -> Response:
    """The weights after the last epoch, as safetensors, with the spec in their metadata."""
    with store.reading() as tx:
        content = predictions.read_weights(tx, id)
    name = {"Content-Disposition": f'attachment; filename="experiment-{id}.safetensors"'}
    return Response(content, media_type="application/octet-stream", headers=name)
