"""The workers: who trains what, and where."""

from fastapi import APIRouter, Depends

from api.depends import StoreDep, known_query
from api.schemas import WorkerList, WorkerOut
from core.store import workers

router = APIRouter(tags=["workers"], dependencies=[Depends(known_query)])


@router.get("/workers")
def list_workers(store: StoreDep) -> WorkerList:
    """Every worker process, the living first."""
    with store.reading() as tx:
        return WorkerList(items=[WorkerOut.of(worker) for worker in workers.all_workers(tx, 1000)])
