"""Experiments: submit, find, look, wish, delete."""

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, BackgroundTasks, Body, Depends, Query, Response
from sqlalchemy import Connection

from api.bodies import JsonRoute
from api.depends import DoorbellDep, FilesDep, Id, StoreDep, known_query
from api.once import MADE, OnceDep, made
from api.problems import documented
from api.schemas import EventList, EventOut, ExperimentOut, ExperimentPage, Extension, PriorityChange
from core.spec import DatasetName, ModelName, Spec, Weight
from core.states import Ask, State
from core.store import events, experiments, extensions, wishes
from core.store.errors import StoreError
from core.store.experiments import Experiment
from core.store.files import Files, tidy
from core.store.outlook import outlook
from core.store.session import Store

log = structlog.get_logger()

Priority = Annotated[int, Query(ge=-100, le=100, description="One point is worth an hour of waiting.")]

router = APIRouter(
    prefix="/experiments", tags=["experiments"], dependencies=[Depends(known_query)], route_class=JsonRoute
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
    "else the newest of them is the answer, with its name and priority as they are."
)


def shown(tx: Connection, found: Sequence[Experiment]) -> list[ExperimentOut]:
    return [ExperimentOut.of(experiment, view) for experiment, view in zip(found, outlook(tx, found), strict=True)]


def page(tx: Connection, found: Sequence[Experiment], limit: int) -> ExperimentPage:
    """Of one more than `limit` that were looked for: the page, and where the next one starts."""
    items = shown(tx, found[:limit])
    return ExperimentPage(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)


def tidy_if_reachable(store: Store, files: Files, folders: Collection[str]) -> None:
    """What was deleted is deleted, wherever its checkpoints lie; those that this host cannot reach stay there."""
    try:
        tidy(store, files, folders)
    except StoreError as error:
        log.warning("checkpoints of what was deleted are left behind", error=str(error))


@router.post(
    "",
    status_code=201,
    response_model=ExperimentOut,
    responses={
        200: {"description": "With `dedupe`: there is one already.", "model": ExperimentOut, **MADE},
        201: MADE,
        **documented(400, 413, 415),
    },
)
def submit_experiment(
    spec: Annotated[Spec, Body(openapi_examples=SPEC_EXAMPLES)],
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
    dedupe: Annotated[Literal["spec"] | None, Query(description=DEDUPE)] = None,
) -> Response:
    """Queue one experiment. The body is the spec."""

    def make(tx: Connection) -> Response:
        there = experiments.newest_with_digest(tx, spec) if dedupe else None
        (answer,) = shown(tx, [there or experiments.submit(tx, spec, priority)])
        return made(answer, 200 if there else 201)

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
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of a page.")] = None,
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
        return page(tx, found, limit)


@router.get("/{id}", responses=documented(404))
def show_experiment(id: Id, store: StoreDep) -> ExperimentOut:
    """One experiment."""
    with store.reading() as tx:
        return shown(tx, [experiments.get(tx, id)])[0]


@router.patch("/{id}", responses=documented(400, 404, 409, 413, 415))
def change_priority(id: Id, change: PriorityChange, store: StoreDep) -> ExperimentOut:
    """Another priority, while it is queued or paused."""
    with store.writing() as tx:
        return shown(tx, [experiments.set_priority(tx, id, change.priority)])[0]


@router.delete("/{id}", status_code=204, responses=documented(404, 409))
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
    responses={201: MADE, **documented(400, 404, 409, 413, 415)},
)
def extend_experiment(
    id: Id,
    extension: Extension,
    once: OnceDep,
    doorbell: DoorbellDep,
    priority: Priority = 0,
) -> Response:
    """Was it long enough? Go on with one that succeeded, for more epochs, as a new experiment: it begins with the rows
    that there are, and has the digest of the longer spec."""
    answer = once(lambda tx: made(shown(tx, [extensions.extend(tx, id, extension.epochs, priority)])[0]))
    doorbell.ring()
    return answer


@router.get("/{id}/events", responses=documented(404))
def list_events(id: Id, store: StoreDep) -> EventList:
    """What happened to it, oldest first."""
    with store.reading() as tx:
        experiments.get(tx, id)
        return EventList(items=[EventOut.of(event) for event in events.read(tx, id)])


def _asking(what: Ask) -> Callable[..., ExperimentOut]:
    def ask(id: Id, store: StoreDep, doorbell: DoorbellDep) -> ExperimentOut:
        with store.writing() as tx:
            (answer,) = shown(tx, [wishes.ask(tx, id, what)])
        if answer.state is State.QUEUED:
            doorbell.ring()
        return answer

    return ask


WISHES = {
    Ask.CANCEL: "Cancel it: at once while it waits, within a heartbeat (5 seconds) while it runs.",
    Ask.PAUSE: "Let it wait for you: at once while it waits, within a heartbeat (5 seconds) while it runs.",
    Ask.RESUME: "Queue it again at its old place, or withdraw a pause that its worker has not obeyed yet.",
    Ask.RETRY: "Queue it again after it failed or was cancelled; not after it diverged.",
}
for _what, _words in WISHES.items():
    router.add_api_route(
        f"/{{id}}/{_what}",
        _asking(_what),
        methods=["POST"],
        status_code=202,
        name=f"{_what} experiment",
        description=_words,
        responses=documented(404, 409),
    )
