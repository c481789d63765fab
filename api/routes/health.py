"""Health and version."""

from importlib import metadata

from fastapi import APIRouter, Depends, Request

from api.depends import DoorbellDep, StoreDep, known_query
from api.problems import documented
from api.schemas import Live, Ready, Version
from core.doorbell import BrokerUnreachable
from core.store import schema

router = APIRouter(tags=["health"], dependencies=[Depends(known_query)])


@router.get("/livez")
def livez() -> Live:
    """Alive. Touches nothing."""
    return Live()


@router.get("/readyz", responses=documented(503))
def readyz(store: StoreDep, doorbell: DoorbellDep) -> Ready:
    """Ready: the database answers and has our revision. A silent broker only degrades."""
    schema.require(store)
    try:
        doorbell.check()
    except BrokerUnreachable:
        return Ready(revision=schema.REVISION, broker="degraded")
    return Ready(revision=schema.REVISION, broker="ok")


@router.get("/version")
def version(request: Request) -> Version:
    """Which Ballast this is."""
    home = request.app.state.home
    return Version(version=metadata.version("ballast"), home=None if home is None else str(home))
