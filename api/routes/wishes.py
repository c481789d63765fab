"""What a user may ask of an experiment, or of all members of a sweep: cancel, pause, resume, retry.

What each makes of each state is in core.store.wishes (api/README.md, "States").
"""

from fastapi import APIRouter, Depends

from api.callers import OWN_EXPERIMENT, OWN_SWEEP, Caller, CallerDep
from api.depends import DoorbellDep, StoreDep
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from api.schemas import ExperimentOut, SweepOut
from api.views import experiments_out, sweep_out
from core.broker.doorbell import Doorbell
from core.states import Ask, State
from core.store import sweeps, wishes
from core.store.session import Store

of_experiments = APIRouter(
    prefix="/experiments", tags=["experiments"], dependencies=[Depends(refuse_unknown_query), OWN_EXPERIMENT]
)
of_sweeps = APIRouter(prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query), OWN_SWEEP])

_CANCEL = "Cancel it: at once while it waits, within a heartbeat (5 seconds) while it runs."
_PAUSE = "Let it wait for you: at once while it waits, within a heartbeat (5 seconds) while it runs."
_RESUME = "Queue it again at its old place, or withdraw a pause that its worker has not obeyed yet."
_RETRY = "Queue it again after it failed or was cancelled; not after it diverged."
_EACH = "For every member that can have it."


@of_experiments.post(
    "/{id}/cancel",
    status_code=202,
    description=_CANCEL,
    responses=problem_responses(404, 409),
)
def cancel_experiment(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> ExperimentOut:
    return _ask_experiment(id, Ask.CANCEL, caller, store, doorbell)


@of_experiments.post(
    "/{id}/pause",
    status_code=202,
    description=_PAUSE,
    responses=problem_responses(404, 409),
)
def pause_experiment(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> ExperimentOut:
    return _ask_experiment(id, Ask.PAUSE, caller, store, doorbell)


@of_experiments.post(
    "/{id}/resume",
    status_code=202,
    description=_RESUME,
    responses=problem_responses(404, 409),
)
def resume_experiment(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> ExperimentOut:
    return _ask_experiment(id, Ask.RESUME, caller, store, doorbell)


@of_experiments.post(
    "/{id}/retry",
    status_code=202,
    description=_RETRY,
    responses=problem_responses(404, 409),
)
def retry_experiment(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> ExperimentOut:
    return _ask_experiment(id, Ask.RETRY, caller, store, doorbell)


@of_sweeps.post(
    "/{id}/cancel",
    status_code=202,
    description=f"{_EACH} {_CANCEL}",
    responses=problem_responses(404),
)
def cancel_sweep(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> SweepOut:
    return _ask_members(id, Ask.CANCEL, caller, store, doorbell)


@of_sweeps.post(
    "/{id}/pause",
    status_code=202,
    description=f"{_EACH} {_PAUSE}",
    responses=problem_responses(404),
)
def pause_sweep(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> SweepOut:
    return _ask_members(id, Ask.PAUSE, caller, store, doorbell)


@of_sweeps.post(
    "/{id}/resume",
    status_code=202,
    description=f"{_EACH} {_RESUME}",
    responses=problem_responses(404),
)
def resume_sweep(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> SweepOut:
    return _ask_members(id, Ask.RESUME, caller, store, doorbell)


@of_sweeps.post(
    "/{id}/retry",
    status_code=202,
    description=f"{_EACH} {_RETRY}",
    responses=problem_responses(404),
)
def retry_sweep(id: Id, caller: CallerDep, store: StoreDep, doorbell: DoorbellDep) -> SweepOut:
    return _ask_members(id, Ask.RETRY, caller, store, doorbell)


def _ask_experiment(experiment_id: int, what: Ask, caller: Caller, store: Store, doorbell: Doorbell) -> ExperimentOut:
    with store.writing(caller.name) as tx:
        (answer,) = experiments_out(tx, [wishes.ask(tx, experiment_id, what)])
    if answer.state is State.QUEUED:
        doorbell.ring()
    return answer


def _ask_members(sweep_id: int, what: Ask, caller: Caller, store: Store, doorbell: Doorbell) -> SweepOut:
    with store.writing(caller.name) as tx:
        sweep = sweeps.ask(tx, sweep_id, what)
    if sweep.counts[State.QUEUED]:
        doorbell.ring()
    return sweep_out(sweep)
