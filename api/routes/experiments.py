"""Experiments: submit, find, look, extend, delete. What may be asked of them is in wishes.py."""

from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Query, Response
from sqlalchemy import Connection

from api.bodies import JsonRoute
from api.callers import OWN_EXPERIMENT, CallerDep
from api.deletion import tidy_if_reachable
from api.depends import DoorbellDep, FilesDep, StoreDep
from api.once import LOCATION_HEADERS, OnceDep, response_with_location
from api.parameters import Cursor, Device, DeviceOrAsBefore, Id, Limit, Priority, refuse_unknown_query
from api.problems import problem_responses
from api.schemas import EventList, ExperimentOut, ExperimentPage, Extension, PriorityChange
from api.views import event_out, experiment_page, experiments_out
from core.spec import DatasetName, ModelName, Spec, Weight
from core.states import DeviceType, State
from core.store import events, experiments, extensions

router = APIRouter(
    prefix="/experiments", tags=["experiments"], dependencies=[Depends(refuse_unknown_query)], route_class=JsonRoute
)

SPEC_EXAMPLES = {
    "short": {
        "summary": "The shortest spec: everything else is the paper's",
        "value": {"dataset": {"name": "mnist"}, "importance_weight": "16:1"},
    },
    "small": {
        "summary": "Under a second, offline",
        "value": {
            "name": "digits 16:1",
            "dataset": {"name": "digits"},
            "model": {"name": "mlp"},
            "importance_weight": "16:1",
            "epochs": 20,
        },
    },
}


DEDUPE = (
    "Make one only where there is none of the same spec, whatever its name, but those that failed or were cancelled; "
    "else the newest of them is the answer, with its name, priority and device as they are."
)


@router.post(
    "",
    status_code=201,
    response_model=ExperimentOut,
    responses={
        200: {"description": "With `dedupe`: there is one already.", "model": ExperimentOut, **LOCATION_HEADERS},
        201: LOCATION_HEADERS,
        **problem_responses(400, 413, 415),
    },
)
def submit_experiment(
    spec: Annotated[Spec, Body(openapi_examples=SPEC_EXAMPLES)],
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    device: Device = DeviceType.ANY,
    dedupe: Annotated[Literal["spec"] | None, Query(description=DEDUPE)] = None,
) -> Response:
    """Queue one experiment. The body is the spec."""

    def make(tx: Connection) -> Response:
        existing = experiments.newest_with_digest(tx, spec) if dedupe else None
        (out,) = experiments_out(tx, [existing or experiments.submit(tx, spec, priority, device)])
        return response_with_location(out, 200 if existing else 201)

    answer = once(make)
    doorbell.ring()
    return answer


@router.get("")
def list_experiments(
    store: StoreDep,
    state: State | None = None,
    sweep: Annotated[int | None, Query(ge=1, description="Only members of this sweep.")] = None,
    dataset: DatasetName | None = None,
    model: ModelName | None = None,
    importance_weight: Annotated[Weight | None, Query(description="As it was written.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ExperimentPage:
    """Experiments, newest first."""
    with store.reading() as tx:
        found = experiments.list_newest(
            tx,
            state=state,
            sweep_id=sweep,
            dataset=dataset,
            model=model,
            importance_weight=importance_weight,
            limit=limit + 1,
            before=None if cursor is None else int(cursor),
        )
        return experiment_page(tx, found, limit)


@router.get("/{id}", responses=problem_responses(404))
def show_experiment(id: Id, store: StoreDep) -> ExperimentOut:
    """One experiment."""
    with store.reading() as tx:
        return experiments_out(tx, [experiments.get(tx, id)])[0]


@router.patch("/{id}", dependencies=[OWN_EXPERIMENT], responses=problem_responses(400, 404, 409, 413, 415))
def change_priority(id: Id, change: PriorityChange, store: StoreDep, caller: CallerDep) -> ExperimentOut:
    """Another priority, while it is queued or paused."""
    with store.writing(caller.name) as tx:
        return experiments_out(tx, [experiments.set_priority(tx, id, change.priority)])[0]


@router.delete("/{id}", status_code=204, dependencies=[OWN_EXPERIMENT], responses=problem_responses(404, 409))
def delete_experiment(id: Id, store: StoreDep, files: FilesDep, afterwards: BackgroundTasks) -> None:
    """Delete it, with its curve, its checkpoints and all else, once it has ended. Its number is never given again."""
    with store.writing() as tx:
        folders = experiments.remove(tx, id)
    tidy_if_reachable(store, files, folders)
    afterwards.add_task(store.give_back_space)


@router.post(
    "/{id}/extend",
    status_code=201,
    response_model=ExperimentOut,
    responses={201: LOCATION_HEADERS, **problem_responses(400, 404, 409, 413, 415)},
)
def extend_experiment(
    id: Id,
    extension: Extension,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    device: DeviceOrAsBefore = None,
) -> Response:
    """Was it long enough? Go on with one that succeeded, for more epochs, as a new experiment: it begins with the rows
    that there are, and has the digest of the longer spec."""

    def make(tx: Connection) -> Response:
        (out,) = experiments_out(tx, [extensions.extend(tx, id, extension.epochs, priority, device)])
        return response_with_location(out)

    answer = once(make)
    doorbell.ring()
    return answer


@router.get("/{id}/events", responses=problem_responses(404))
def list_events(id: Id, store: StoreDep) -> EventList:
    """What happened to it, oldest first."""
    with store.reading() as tx:
        experiments.get(tx, id)
        return EventList(items=[event_out(event) for event in events.read(tx, id)])
