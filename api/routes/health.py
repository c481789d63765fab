"""Health and version."""

import os
from importlib import metadata
from ipaddress import IPv6Address, ip_address

from fastapi import APIRouter, Depends, Request

from api.depends import DoorbellDep, StoreDep
from api.parameters import refuse_unknown_query
from api.problems import problem_responses
from api.schemas import Live, Ready, Version
from core.broker.doorbell import BrokerUnreachable
from core.store import schema

router = APIRouter(tags=["health"], dependencies=[Depends(refuse_unknown_query)])


@router.get("/livez")
def is_alive() -> Live:
    """Alive. Touches nothing."""
    return Live()


@router.get("/readyz", responses=problem_responses(503))
def is_ready(store: StoreDep, doorbell: DoorbellDep) -> Ready:
    """Ready: the database has our revision and takes what is written. A silent broker only degrades."""
    schema.require(store)
    store.try_to_write()
    try:
        doorbell.check()
    except BrokerUnreachable:
        return Ready(revision=schema.REVISION, broker="degraded")
    return Ready(revision=schema.REVISION, broker="ok")


@router.get("/version")
def show_version(request: Request) -> Version:
    """Which Ballast this is; and where its home is, for this host's own programs."""
    here = _on_loopback(request) and not request.app.state.needs_token  # else a proxy may stand between
    home = os.fsencode(request.app.state.home_folder).decode("utf-8", "replace") if here else None
    return Version(version=metadata.version("ballast"), home=home)


def _on_loopback(request: Request) -> bool:
    try:
        address = ip_address(request.client.host if request.client else "")
    except ValueError:  # a socket that has no address
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
