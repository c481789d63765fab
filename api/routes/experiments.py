"""Experiments: submit, find, look, cancel."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Response

from api.depends import DoorbellDep, Id, StoreDep, json_body, known_query
from api.problems import documented
from api.schemas import EventList, EventOut, ExperimentOut, ExperimentPage
from core.spec import Label, Spec
from core.states import Ask, State
from core.store import events, experiments, wishes

router = APIRouter(prefix="/experiments", tags=["experiments"], dependencies=[Depends(known_query)])

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


@router.post(
    "",
    status_code=201,
    dependencies=[Depends(json_body)],
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}, "description": "Where the experiment is."}}},
        **documented(400, 413, 415),
    },
)
def submit(
    spec: Annotated[Spec, Body(openapi_examples=SPEC_EXAMPLES)],
    store: StoreDep,
    doorbell: DoorbellDep,
    response: Response,
    priority: Annotated[int, Query(ge=-100, le=100, description="One point is worth an hour of waiting.")] = 0,
) -> ExperimentOut:
    """Queue one experiment. The body is the spec."""
    with store.writing() as tx:
        experiment = experiments.submit(tx, spec, priority)
    doorbell.ring()
    answer = ExperimentOut.of(experiment)
    response.headers["Location"] = answer.links.self
    return answer


@router.get("")
def list_experiments(
    store: StoreDep,
    state: State | None = None,
    dataset: Annotated[Label | None, Query(max_length=100)] = None,
    model: Annotated[Label | None, Query(max_length=100)] = None,
    importance_weight: Annotated[Label | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of a page.")] = None,
) -> ExperimentPage:
    """Experiments, newest first."""
    with store.reading() as tx:
        found = experiments.list_newest(
            tx,
            state=state,
            dataset=dataset,
            model=model,
            importance_weight=importance_weight,
            limit=limit + 1,
            before=None if cursor is None else int(cursor),
        )
    page = found[:limit]
    more = len(found) > limit
    return ExperimentPage(
        items=[ExperimentOut.of(experiment) for experiment in page], next_cursor=str(page[-1].id) if more else None
    )


@router.get("/{id}", responses=documented(404))
def show(id: Id, store: StoreDep) -> ExperimentOut:  # noqa: A002 - the contract's name
    """One experiment."""
    with store.reading() as tx:
        return ExperimentOut.of(experiments.get(tx, id))


@router.get("/{id}/events", responses=documented(404))
def list_events(id: Id, store: StoreDep) -> EventList:  # noqa: A002
    """What happened to it, oldest first."""
    with store.reading() as tx:
        experiments.get(tx, id)
        return EventList(items=[EventOut.of(event) for event in events.read(tx, id)])


@router.post("/{id}/cancel", status_code=202, responses=documented(404, 409))
def cancel(id: Id, store: StoreDep) -> ExperimentOut:  # noqa: A002
    """Cancel it: at once while it waits, within a heartbeat (5 seconds) while it runs."""
    with store.writing() as tx:
        return ExperimentOut.of(wishes.ask(tx, id, Ask.CANCEL))
