"""What a user may ask of an experiment or of all members of a sweep: cancel, pause, resume, retry (CONTRACT §2).

The same wish again changes nothing. One that waits moves at once; one that is running is asked, and its worker obeys.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, update

from core.states import Ask, ErrorKind, State, Wish
from core.store import events
from core.store.clock import now_ms
from core.store.errors import NotAllowed
from core.store.experiments import Experiment, get, in_parts, lock, move_all, rank
from core.store.tables import AnyRow, experiments


class _Effect(NamedTuple):
    """What a wish does: a move, or a request to the worker that holds it; neither, where all is as wished."""

    to: State | None = None
    request: Wish | None = None
    withdraw: bool = False  # the request that is pending


_NOTHING = _Effect()


def ask(tx: Connection, experiment_id: int, what: Ask) -> Experiment:
    """Raises NotFound, and NotAllowed where the state cannot get there."""
    now = lock(tx, experiment_id)
    _apply(tx, [now], _effect(now, what))
    return get(tx, experiment_id)


def ask_all(tx: Connection, locked: Sequence[AnyRow], what: Ask) -> None:
    """The same of every experiment that can have it; their rows are locked."""
    alike: dict[tuple[State, _Effect], list[AnyRow]] = {}
    for row in locked:
        try:
            alike.setdefault((State(row.state), _effect(row, what)), []).append(row)
        except NotAllowed:
            continue
    for (_, effect), rows in alike.items():
        _apply(tx, rows, effect)


def _effect(now: AnyRow, what: Ask) -> _Effect:
    """Raises NotAllowed."""
    return _EFFECTS[what](now)


def _cancel(now: AnyRow) -> _Effect:
    match now.state:
        case State.QUEUED | State.PAUSED:
            return _Effect(to=State.CANCELLED)
        case State.RUNNING if now.requested != Wish.CANCEL:
            return _Effect(request=Wish.CANCEL)
        case State.RUNNING | State.CANCELLED:
            return _NOTHING
    raise _cannot(now, State.CANCELLED)


def _pause(now: AnyRow) -> _Effect:
    if now.requested == Wish.CANCEL:
        raise NotAllowed(now.id, State(now.state), "it is being cancelled")
    match now.state:
        case State.QUEUED:
            return _Effect(to=State.PAUSED)
        case State.RUNNING if now.requested is None:
            return _Effect(request=Wish.PAUSE)
        case State.RUNNING | State.PAUSED:
            return _NOTHING
    raise _cannot(now, State.PAUSED)


def _resume(now: AnyRow) -> _Effect:
    if now.requested == Wish.CANCEL:
        raise NotAllowed(now.id, State(now.state), "it is being cancelled")
    match now.state:
        case State.PAUSED:
            return _Effect(to=State.QUEUED)
        case State.RUNNING if now.requested == Wish.PAUSE:
            return _Effect(withdraw=True)
        case State.QUEUED | State.RUNNING:
            return _NOTHING
    raise NotAllowed(now.id, State(now.state), "only one that is paused can be resumed")


def _retry(now: AnyRow) -> _Effect:
    if now.requested == Wish.CANCEL:
        raise NotAllowed(now.id, State(now.state), "it is being cancelled: retry it when it is")
    match now.state:
        case State.FAILED if now.error_kind == ErrorKind.DIVERGED:
            raise NotAllowed(now.id, State.FAILED, "it diverged, and would again: submit it with a smaller lr")
        case State.FAILED | State.CANCELLED:
            return _Effect(to=State.QUEUED)
        case State.QUEUED | State.RUNNING:
            return _NOTHING
    raise NotAllowed(now.id, State(now.state), "only one that failed or was cancelled can be retried")


_EFFECTS: dict[Ask, Callable[[AnyRow], _Effect]] = {
    Ask.CANCEL: _cancel,
    Ask.PAUSE: _pause,
    Ask.RESUME: _resume,
    Ask.RETRY: _retry,
}

# Tried anew: behind those that wait, and with nothing of the failure left.
_ANEW = {
    "failures": 0,
    "queued_ms": now_ms(),
    "rank": rank(experiments.c.priority),
    "error_kind": None,
    "error_message": None,
    "error_traceback": None,
    "ended_ms": None,
}


def _apply(tx: Connection, rows: Sequence[AnyRow], effect: _Effect) -> None:
    """The effect on rows that are in one state."""
    if effect.to is not None:
        origin = State(rows[0].state)
        retried = effect.to is State.QUEUED and origin is not State.PAUSED
        move_all(tx, rows, origin, effect.to, changes=_ANEW if retried else None)
    elif effect.request or effect.withdraw:
        _request(tx, rows, effect.request)


def _request(tx: Connection, rows: Sequence[AnyRow], wish: Wish | None) -> None:
    for part in in_parts(rows):
        tx.execute(
            update(experiments)
            .where(experiments.c.id.in_([row.id for row in part]))
            .values(requested=wish, revision=experiments.c.revision + 1)
        )
    asked = [{"experiment_id": row.id, "attempt": row.attempt, "worker_id": row.worker_id} for row in rows]
    events.record_all(tx, "requested" if wish else "withdrawn", asked, detail=wish)


def _cannot(now: AnyRow, to: State) -> NotAllowed:
    return NotAllowed(now.id, State(now.state), f"it cannot be {to}")
