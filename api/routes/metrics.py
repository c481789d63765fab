"""How much there is to do, and who does it: for autoscalers, and for Prometheus."""

from fastapi import APIRouter, Depends, Request, Response

from api.depends import StoreDep
from api.metrics import MEDIA_TYPE, Metrics
from api.parameters import refuse_unknown_query
from api.schemas import QueueStats
from api.views import queue_stats
from core.store import metrics

router = APIRouter(tags=["metrics"], dependencies=[Depends(refuse_unknown_query)])

_TEXT = {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "Prometheus' text."}


@router.get("/queue/stats")
def show_queue_stats(store: StoreDep) -> QueueStats:
    """How many are queued and running, on how many workers, by device and by owner."""
    with store.reading() as tx:
        return queue_stats(metrics.queue(tx))


@router.get("/metrics", response_class=Response, responses={200: _TEXT})
def show_metrics(request: Request, store: StoreDep) -> Response:
    """The same and more, for Prometheus; with the database away `ballast_database_up 0`, and what needs none."""
    of_app: Metrics = request.app.state.metrics
    return Response(of_app.scraped(store), media_type=MEDIA_TYPE)
