"""Sweeps: a whole figure in one request; its progress, growth, wishes and picture."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from api.bodies import JsonRoute
from api.depends import DoorbellDep, FilesDep, Id, StoreDep, known_query
from api.once import MADE, OnceDep, made
from api.problems import documented
from api.routes.experiments import WISHES, Priority, page, tidy_if_reachable
from api.schemas import DryRun, ExperimentPage, PriorityChange, SweepOut, SweepPage, SweepWithMembers
from core.analysis.figures import Line, draw
from core.analysis.groups import grouped, shared
from core.spec import Spec
from core.states import ENDED, Ask, State
from core.store import curves, experiments, sweeps
from core.store.errors import SweepChanged
from core.store.experiments import Experiment
from core.store.session import Store
from core.sweeps import GrowthRequest, SweepRequest, expanded, grown

router = APIRouter(prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(known_query)], route_class=JsonRoute)

MOST_LINES = 1000  # of a figure

Limit = Annotated[int, Query(ge=1, le=500)]
MemberLimit = Annotated[int, Query(ge=0, le=500, description="0: the progress alone.")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of a page.")]
DryRunQuery = Annotated[bool, Query(description="Say what would be made, and make nothing.")]
_DRY_RUN: dict[str, Any] = {"model": DryRun, "description": "With `dry_run`: what would be made. Nothing is."}
_DRY_RUN_OR_THERE: dict[str, Any] = {
    "model": DryRun | SweepWithMembers,
    "description": f"{_DRY_RUN['description']} With `dedupe`: the sweep that there is already.",
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
    responses={200: _DRY_RUN_OR_THERE, 201: MADE, **documented(400, 413, 415)},
)
def submit_sweep(
    request: Annotated[SweepRequest, Body(openapi_examples=EXAMPLES)],
    store: StoreDep,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    dry_run: DryRunQuery = False,
    dedupe: Annotated[Literal["spec"] | None, Query(description=DEDUPE)] = None,
) -> Response:
    """Queue all experiments of a grid, or of a preset of the paper: all or none."""
    grids, specs = expanded(request)
    if dry_run:
        with store.writing() as tx:  # which looks for the same as the real one would
            there = sweeps.newest_with_digests(tx, specs) if dedupe else None
        return _would_be(specs if there is None else [])

    def make(tx: Connection) -> Response:
        there = sweeps.newest_with_digests(tx, specs) if dedupe else None
        if there is not None:
            return made(_shown(tx, there), 200)
        sweep_id = sweeps.submit(tx, grids, specs, name=request.name, preset=request.preset, priority=priority)
        return made(_shown(tx, sweep_id))

    answer = once(make)
    doorbell.ring()
    return answer


@router.get("")
def list_sweeps(store: StoreDep, limit: Limit = 50, cursor: Cursor = None) -> SweepPage:
    """Sweeps, newest first, without their members."""
    with store.reading() as tx:
        found = sweeps.list_newest(tx, limit + 1, None if cursor is None else int(cursor))
    items = [SweepOut.of(sweep) for sweep in found[:limit]]
    return SweepPage(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)


@router.get("/{id}", responses=documented(404))
def show_sweep(id: Id, store: StoreDep, limit: MemberLimit = 50, cursor: Cursor = None) -> SweepWithMembers:
    """One sweep: its progress, and its members page by page."""
    with store.reading() as tx:
        return _shown(tx, id, limit, int(cursor or 0))


@router.patch("/{id}", responses=documented(400, 404, 413, 415))
def change_sweep(id: Id, change: PriorityChange, store: StoreDep) -> SweepOut:
    """Another priority for every member that is queued or paused."""
    with store.writing() as tx:
        return SweepOut.of(sweeps.set_priority(tx, id, change.priority))


@router.post(
    "/{id}/members",
    status_code=201,
    response_model=SweepWithMembers,
    responses={200: _DRY_RUN, 201: MADE, **documented(400, 404, 413, 415)},
)
def grow_sweep(
    id: Id,
    request: GrowthRequest,
    store: StoreDep,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    dry_run: DryRunQuery = False,
) -> Response:
    """Add the product of these axes with those that the sweep has. Members that exist are left as they are; those that
    were deleted are made again."""
    if dry_run:
        return _would_be_added(store, id, request)
    answer = once.replay()
    while answer is None:
        with suppress(SweepChanged):
            answer = once(_growth(store, id, request, priority))
    doorbell.ring()
    return answer


def _growth(store: Store, sweep_id: int, request: GrowthRequest, priority: int) -> Callable[[Connection], Response]:
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
    larger, specs = grown(sweep.grids, request.axes)  # seconds, so before the sweep is locked

    def make(tx: Connection) -> Response:
        sweeps.grow(tx, sweep_id, sweep.grids, larger, specs, priority)
        return made(_shown(tx, sweep_id))

    return make


def _would_be_added(store: Store, sweep_id: int, request: GrowthRequest) -> Response:
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
    _, specs = grown(sweep.grids, request.axes)
    with store.reading() as tx:
        return _would_be(sweeps.missing(tx, sweep_id, specs))


@router.delete("/{id}", status_code=202, responses=documented(404))
def delete_sweep(id: Id, store: StoreDep, files: FilesDep, afterwards: BackgroundTasks) -> SweepOut:
    """Delete every member that has ended, and the sweep with its last."""
    afterwards.add_task(store.give_back_space)
    while True:
        with store.writing() as tx:
            left, folders = sweeps.remove_some(tx, id)
        tidy_if_reachable(store, files, folders)
        if not any(left.counts[state] for state in ENDED):
            return SweepOut.of(left)


def _asking(what: Ask) -> Callable[..., SweepOut]:
    def ask(id: Id, store: StoreDep, doorbell: DoorbellDep) -> SweepOut:
        with store.writing() as tx:
            sweep = sweeps.ask(tx, id, what)
        if sweep.counts[State.QUEUED]:
            doorbell.ring()
        return SweepOut.of(sweep)

    return ask


for _what, _words in WISHES.items():
    router.add_api_route(
        f"/{{id}}/{_what}",
        _asking(_what),
        methods=["POST"],
        status_code=202,
        name=f"{_what} sweep",
        description=f"For every member that can have it. {_words}",
        responses=documented(404),
    )


def _figure(file_format: Literal["png", "svg"]) -> Callable[..., Response]:
    def figure(id: Id, store: StoreDep) -> Response:
        """Base fraction over epochs: a row a group that differs in more than weight and seed, as far as it has come."""
        with store.reading() as tx:
            sweep = sweeps.get(tx, id)
            members = experiments.members(tx, id, MOST_LINES)
        lines = [(member.spec, _line(store, member)) for member in members]
        count = sum(sweep.counts.values())
        more = f" (the first {MOST_LINES} of {count})" if count > MOST_LINES else ""
        begun = sum(1 for _, line in lines if len(line.epoch))
        if begun < len(lines) or any(member.state not in ENDED for member in members):
            more += f" ({begun} of {len(lines)} have rows)"
        picture = BytesIO()
        title = f"{sweep.name or sweep.preset or f'sweep {id}'}{more}"
        draw(grouped(lines), title, picture, file_format, shared([spec for spec, _ in lines]))
        return Response(picture.getvalue(), media_type=_MEDIA_TYPES[file_format])

    return figure


def _line(store: Store, member: Experiment) -> Line:
    with store.reading() as tx:  # of its own: a thousand curves take seconds
        fractions = curves.fractions(tx, member.id)
    return Line(member.importance_weight, member.spec["seed"], *fractions, diverged=member.diverged_at is not None)


_MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
for _format in ("png", "svg"):
    router.add_api_route(
        f"/{{id}}/figure.{_format}",
        _figure(_format),
        methods=["GET"],
        response_class=Response,
        name=f"draw figure as {_format}",
        responses={
            200: {"content": {_MEDIA_TYPES[_format]: {"schema": {"type": "string", "format": "binary"}}}},
            **documented(404),
        },
    )


def _would_be(specs: Sequence[Spec]) -> Response:
    return JSONResponse(DryRun(count=len(specs), specs=list(specs)).model_dump())


def _shown(tx: Connection, sweep_id: int, limit: int = 50, after: int = 0) -> SweepWithMembers:
    sweep = sweeps.get(tx, sweep_id)
    if limit == 0:
        return SweepWithMembers.of(sweep, members=ExperimentPage(items=[], next_cursor=str(after)))
    return SweepWithMembers.of(sweep, members=page(tx, experiments.members(tx, sweep_id, limit + 1, after), limit))
