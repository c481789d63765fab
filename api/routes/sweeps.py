"""Sweeps: a whole figure in one request; its progress and growth. Wishes and pictures are in files of their own."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from api.bodies import JsonRoute
from api.callers import OWN_SWEEP, CallerDep
from api.deletion import tidy_if_reachable
from api.depends import DoorbellDep, FilesDep, StoreDep
from api.once import LOCATION_HEADERS, OnceDep, response_with_location
from api.parameters import Cursor, Device, DeviceOrAsBefore, Id, Limit, Priority, refuse_unknown_query
from api.problems import problem_responses
from api.schemas import (
    DryRun,
    ExperimentPage,
    ExtendedSweep,
    Extension,
    ExtensionDryRun,
    PriorityChange,
    SweepOut,
    SweepPage,
    SweepWithMembers,
)
from api.views import (
    dry_run_out,
    extended_sweep,
    extension_dry_run_out,
    member_page,
    sweep_out,
    sweep_page,
    sweep_with_members,
)
from core.spec import Spec
from core.states import ENDED, DeviceType
from core.store import costs, experiments, extensions, sweeps
from core.store.errors import SweepChanged
from core.store.extensions import LongerSweep
from core.store.session import Store
from core.store.slots import devices_of
from core.sweeps import GrowthRequest, SweepRequest, grids_and_specs, larger_grids_and_specs

router = APIRouter(
    prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query)], route_class=JsonRoute
)

MemberLimit = Annotated[int, Query(ge=0, le=500, description="0: the progress alone.")]
DryRunQuery = Annotated[bool, Query(description="Say what would be made, and make nothing.")]
_DRY_RUN: dict[str, Any] = {"model": DryRun, "description": "With `dry_run`: what would be made. Nothing is."}
_DRY_RUN_OR_EXISTING: dict[str, Any] = {
    "model": DryRun | SweepWithMembers,
    "description": f"{_DRY_RUN['description']} With `dedupe`: the sweep that there is already.",
}
_LONGER_DRY_RUN_OR_EXISTING: dict[str, Any] = {
    "model": ExtensionDryRun | ExtendedSweep,
    "description": _DRY_RUN_OR_EXISTING["description"],
}

DEDUPE = (
    "Make one only where there is no sweep of just the same specs, whatever its name, none of whose members was "
    "cancelled; else the newest of them is the answer, as it is."
)

EXAMPLES: dict[str, Any] = {
    "grid": {
        "summary": "Three weights, two seeds: under ten seconds, offline",
        "value": {
            "name": "digits",
            "base": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 20},
            "axes": {"importance_weight": ["16:1", "1:1", "1:16"], "seed": [0, 1]},
        },
    },
    "preset": {
        "summary": "Figure 2 of the paper, shorter, with five seeds",
        "value": {"preset": "figure-2", "base": {"epochs": 50}, "axes": {"seed": [0, 1, 2, 3, 4]}},
    },
}


@router.post(
    "",
    status_code=201,
    response_model=SweepWithMembers,
    responses={200: _DRY_RUN_OR_EXISTING, 201: LOCATION_HEADERS, **problem_responses(400, 413, 415)},
)
def submit_sweep(
    request: Annotated[SweepRequest, Body(openapi_examples=EXAMPLES)],
    store: StoreDep,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    device: Device = DeviceType.ANY,
    dry_run: DryRunQuery = False,
    dedupe: Annotated[Literal["spec"] | None, Query(description=DEDUPE)] = None,
) -> Response:
    """Queue all experiments of a grid, or of a preset of the paper: all or none."""
    grids, specs = grids_and_specs(request)
    if dry_run:
        with store.writing() as tx:  # which looks for the same as the real one would
            existing = sweeps.newest_with_digests(tx, specs) if dedupe else None
        with store.reading() as tx:
            return _dry_run(tx, specs if existing is None else [], device)

    def make(tx: Connection) -> Response:
        existing = sweeps.newest_with_digests(tx, specs) if dedupe else None
        if existing is not None:
            return response_with_location(_with_members(tx, existing), 200)
        sweep_id = sweeps.submit(
            tx, grids, specs, name=request.name, preset=request.preset, priority=priority, device=device
        )
        return response_with_location(_with_members(tx, sweep_id))

    answer = once(make)
    doorbell.ring()
    return answer


@router.get("")
def list_sweeps(store: StoreDep, limit: Limit = 50, cursor: Cursor = None) -> SweepPage:
    """Sweeps, newest first, without their members."""
    with store.reading() as tx:
        found = sweeps.list_newest(tx, limit + 1, None if cursor is None else int(cursor))
    return sweep_page(found, limit)


@router.get("/{id}", responses=problem_responses(404))
def show_sweep(id: Id, store: StoreDep, limit: MemberLimit = 50, cursor: Cursor = None) -> SweepWithMembers:
    """One sweep: its progress, and its members page by page."""
    with store.reading() as tx:
        return _with_members(tx, id, limit, int(cursor or 0))


@router.patch("/{id}", dependencies=[OWN_SWEEP], responses=problem_responses(400, 404, 413, 415))
def change_sweep(id: Id, change: PriorityChange, store: StoreDep, caller: CallerDep) -> SweepOut:
    """Another priority for every member that is queued or paused."""
    with store.writing(caller.name) as tx:
        return sweep_out(sweeps.set_priority(tx, id, change.priority))


@router.post(
    "/{id}/members",
    status_code=201,
    dependencies=[OWN_SWEEP],
    response_model=SweepWithMembers,
    responses={200: _DRY_RUN, 201: LOCATION_HEADERS, **problem_responses(400, 404, 413, 415)},
)
def grow_sweep(
    id: Id,
    request: GrowthRequest,
    store: StoreDep,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    device: DeviceOrAsBefore = None,
    dry_run: DryRunQuery = False,
) -> Response:
    """Add the product of these axes with those that the sweep has. Members that exist are left as they are; those that
    were deleted are made again."""
    if dry_run:
        return _dry_growth(store, id, request, device)
    answer = once.replay()
    while answer is None:
        with suppress(SweepChanged):
            answer = once(_growth(store, id, request, priority, device))
    doorbell.ring()
    return answer


@router.post(
    "/{id}/extend",
    status_code=201,
    response_model=ExtendedSweep,
    responses={200: _LONGER_DRY_RUN_OR_EXISTING, 201: LOCATION_HEADERS, **problem_responses(400, 404, 409, 413, 415)},
)
def extend_sweep(
    id: Id,
    extension: Extension,
    store: StoreDep,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    device: DeviceOrAsBefore = None,
    dry_run: DryRunQuery = False,
    dedupe: Annotated[Literal["spec"] | None, Query(description=DEDUPE)] = None,
) -> Response:
    """Was it long enough? Go on with those of its experiments that have succeeded, for more epochs, as a new sweep of
    the same grids; the others are named."""
    if dry_run:
        with store.writing() as tx:  # which looks for the same as the real one would
            longer, existing = _longer_or_existing(tx, id, extension.epochs, dedupe)
        if existing is not None:
            longer = longer._replace(longer=[])
        with store.reading() as tx:
            cost = costs.expected_cost(tx, longer.specs, longer.devices(device), longer.epochs_left)
        return JSONResponse(extension_dry_run_out(longer, cost).model_dump())

    def make(tx: Connection) -> Response:
        sweeps.lock(tx, id)
        longer, existing = _longer_or_existing(tx, id, extension.epochs, dedupe)
        if existing is not None:
            return response_with_location(extended_sweep(_with_members(tx, existing), longer.left_out), 200)
        sweep_id, left_out = extensions.extend_sweep(tx, id, extension.epochs, priority, device)
        return response_with_location(extended_sweep(_with_members(tx, sweep_id), left_out))

    answer = once(make)
    doorbell.ring()
    return answer


@router.delete("/{id}", status_code=202, dependencies=[OWN_SWEEP], responses=problem_responses(404))
def delete_sweep(id: Id, store: StoreDep, files: FilesDep, afterwards: BackgroundTasks) -> SweepOut:
    """Delete every member that has ended, and the sweep with its last."""
    afterwards.add_task(store.give_back_space)
    while True:
        with store.writing() as tx:
            left, folders = sweeps.remove_some(tx, id)
        tidy_if_reachable(store, files, folders)
        if not any(left.counts[state] for state in ENDED):
            return sweep_out(left)


def _longer_or_existing(
    tx: Connection, sweep_id: int, epochs: int, dedupe: str | None
) -> tuple[LongerSweep, int | None]:
    """What would be made, and with `dedupe` the sweep that is just that already."""
    longer = extensions.longer_sweep(tx, sweep_id, epochs)
    return longer, sweeps.newest_with_digests(tx, longer.specs) if dedupe else None


def _growth(
    store: Store, sweep_id: int, request: GrowthRequest, priority: int, device: DeviceType | None
) -> Callable[[Connection], Response]:
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
    larger, specs = larger_grids_and_specs(sweep.grids, request.axes)  # seconds, so before the sweep is locked

    def make(tx: Connection) -> Response:
        sweeps.grow(tx, sweep_id, sweep.grids, larger, specs, priority, device)
        return response_with_location(_with_members(tx, sweep_id))

    return make


def _dry_growth(store: Store, sweep_id: int, request: GrowthRequest, device: DeviceType | None) -> Response:
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
    _, specs = larger_grids_and_specs(sweep.grids, request.axes)
    with store.reading() as tx:
        return _dry_run(tx, sweeps.missing(tx, sweep_id, specs), device or sweep.device)


def _dry_run(tx: Connection, specs: Sequence[Spec], device: DeviceType) -> Response:
    cost = costs.expected_cost(tx, specs, devices_of(specs, device))
    return JSONResponse(dry_run_out(specs, cost).model_dump())


def _with_members(tx: Connection, sweep_id: int, limit: int = 50, first_position: int = 0) -> SweepWithMembers:
    sweep = sweeps.get(tx, sweep_id)
    if limit == 0:
        return sweep_with_members(sweep, ExperimentPage(items=[], next_cursor=str(first_position)))
    members = experiments.members(tx, sweep_id, limit + 1, first_position)
    return sweep_with_members(sweep, member_page(tx, members, limit))
