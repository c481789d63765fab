"""The workers: who trains what, and where."""

from fastapi import APIRouter, Depends

from api.depends import StoreDep
from api.parameters import refuse_unknown_query
from api.schemas import WorkerList
from api.views import worker_out
from core.store import workers

router = APIRouter(tags=["workers"], dependencies=[Depends(refuse_unknown_query)])


@router.get("/workers")
def list_workers(store: StoreDep) -> WorkerList:
    """Every worker process, the living first."""
    with store.reading() as tx:
        return WorkerList(items=[worker_out(worker) for worker in workers.all_workers(tx, 1000)])
