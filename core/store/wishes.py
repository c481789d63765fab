"""What a user may ask of an experiment or of all members of a sweep: cancel, pause, resume, retry (api/README.md,
"States").

The same wish again changes nothing. One that waits moves at once; one that is running is asked, and its worker obeys.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from core.states import Ask, ErrorKind, State, Wish
from core.store import events, quotas
from core.store.clock import now_ms
from core.store.errors import NotAllowed
from core.store.events import EventKind
from core.store.experiments import Experiment, get
from core.store.moves import in_parts, lock, move_all
from core.store.ranks import rank
from core.store.tables import AnyRow, experiments


class _Effect(NamedTuple):
    """What asking does: a move, or a request to the worker that holds it; neither, where all is as wished."""

    to: State | None = None
    request: Wish | None = None
    withdraw: bool = False  # the request that is pending


_NOTHING = _Effect()


def ask(tx: Connection, experiment_id: int, what: Ask) -> Experiment:
    """Raises NotFound, NotAllowed where the state cannot get there, and QueueFull."""
    row = lock(tx, experiment_id)
    _apply(tx, [row], _effect_of(what, row))
    return get(tx, experiment_id)


def ask_all(tx: Connection, locked: Sequence[AnyRow], what: Ask) -> None:
    """The same of every experiment that can have it; their rows are locked. Raises QueueFull."""
    rows_by_effect: dict[tuple[State, _Effect], list[AnyRow]] = {}
    for row in locked:
        try:
            rows_by_effect.setdefault((State(row.state), _effect_of(what, row)), []).append(row)
        except NotAllowed:
            continue
    for (_, effect), rows in rows_by_effect.items():
        _apply(tx, rows, effect)


def _effect_of(what: Ask, row: AnyRow) -> _Effect:
    """Raises NotAllowed."""
    return _EFFECTS[what](row)


def _effect_of_cancel(row: AnyRow) -> _Effect:
    match row.state:
        case State.QUEUED | State.PAUSED:
            return _Effect(to=State.CANCELLED)
        case State.RUNNING if row.requested != Wish.CANCEL:
            return _Effect(request=Wish.CANCEL)
        case State.RUNNING | State.CANCELLED:
            return _NOTHING
    raise _refusal(row, State.CANCELLED)


def _effect_of_pause(row: AnyRow) -> _Effect:
    if row.requested == Wish.CANCEL:
        raise NotAllowed(row.id, State(row.state), "it is being cancelled")
    match row.state:
        case State.QUEUED:
            return _Effect(to=State.PAUSED)
        case State.RUNNING if row.requested is None:
            return _Effect(request=Wish.PAUSE)
        case State.RUNNING | State.PAUSED:
            return _NOTHING
    raise _refusal(row, State.PAUSED)


def _effect_of_resume(row: AnyRow) -> _Effect:
    if row.requested == Wish.CANCEL:
        raise NotAllowed(row.id, State(row.state), "it is being cancelled")
    match row.state:
        case State.PAUSED:
            return _Effect(to=State.QUEUED)
        case State.RUNNING if row.requested == Wish.PAUSE:
            return _Effect(withdraw=True)
        case State.QUEUED | State.RUNNING:
            return _NOTHING
    raise NotAllowed(row.id, State(row.state), "only one that is paused can be resumed")


def _effect_of_retry(row: AnyRow) -> _Effect:
    if row.requested == Wish.CANCEL:
        raise NotAllowed(row.id, State(row.state), "it is being cancelled: retry it when it is")
    match row.state:
        case State.FAILED if row.error_kind == ErrorKind.DIVERGED:
            raise NotAllowed(row.id, State.FAILED, "it diverged, and would again: submit it with a smaller lr")
        case State.FAILED | State.CANCELLED:
            return _Effect(to=State.QUEUED)
        case State.QUEUED | State.RUNNING:
            return _NOTHING
    raise NotAllowed(row.id, State(row.state), "only one that failed or was cancelled can be retried")


_EFFECTS: dict[Ask, Callable[[AnyRow], _Effect]] = {
    Ask.CANCEL: _effect_of_cancel,
    Ask.PAUSE: _effect_of_pause,
    Ask.RESUME: _effect_of_resume,
    Ask.RETRY: _effect_of_retry,
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
        if effect.to is State.QUEUED:
            quotas.require_room(tx, _owners(tx, rows))
        retried = effect.to is State.QUEUED and origin is not State.PAUSED
        move_all(tx, rows, origin, effect.to, changes=_ANEW if retried else None)
    elif effect.request or effect.withdraw:
        _request(tx, rows, effect.request)


def _owners(tx: Connection, rows: Sequence[AnyRow]) -> Iterator[str]:
    """Of each."""
    for part in in_parts(rows):
        yield from tx.execute(
            select(experiments.c.owner).where(experiments.c.id.in_([row.id for row in part]))
        ).scalars()


def _request(tx: Connection, rows: Sequence[AnyRow], wish: Wish | None) -> None:
    for part in in_parts(rows):
        tx.execute(
            update(experiments)
            .where(experiments.c.id.in_([row.id for row in part]))
            .values(requested=wish, revision=experiments.c.revision + 1)
        )
    own = [{"experiment_id": row.id, "attempt": row.attempt, "worker_id": row.worker_id} for row in rows]
    events.record_all(tx, EventKind.REQUESTED if wish else EventKind.WITHDRAWN, own, detail=wish)


def _refusal(row: AnyRow, to: State) -> NotAllowed:
    return NotAllowed(row.id, State(row.state), f"it cannot be {to}")
