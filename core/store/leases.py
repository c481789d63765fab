"""A claim is a lease on an experiment's row, and its attempt is the fencing token: every write of a worker begins with
a statement that changes the row only if that attempt still holds it (core/store/README.md, "The fence"). Here a lease
is renewed, given back and taken back; what is written under it is the concern of `attempts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from core.spec import Spec
from core.states import ErrorKind, State, Wish
from core.store import tallies
from core.store.clock import now_ms
from core.store.errors import ClaimLost
from core.store.events import EventKind
from core.store.experiments import ExperimentError, error_columns
from core.store.moves import move
from core.store.ranks import rank
from core.store.tables import AnyRow, events, experiments, literally, workers
from core.store.tallies import Count, Tally
from core.store.workers import NAME

_AT_A_TIME = 100  # a pass must take less than a heartbeat, or it looks like an outage (worker/reconciler.py)

_OBEYED = {Wish.CANCEL: State.CANCELLED, Wish.PAUSE: State.PAUSED}


@dataclass(frozen=True, slots=True)
class Claim:
    experiment_id: int
    attempt: int
    worker_id: int
    owner: str
    spec: Spec
    folder: str  # of its checkpoints
    data_sha256: str | None  # of the images that its rows and checkpoints are of; None: there are none yet


def fence(tx: Connection, claim: Claim, **changes: Any) -> Wish | None:
    """The first statement of every write: changes the row only if the claim still holds it. Returns the pending wish.
    Raises ClaimLost."""
    held = tx.execute(
        update(experiments)
        .where(
            experiments.c.id == claim.experiment_id,
            experiments.c.attempt == claim.attempt,
            experiments.c.state == literally(State.RUNNING),
        )
        .values(changes)
        .returning(experiments.c.requested)
    ).one_or_none()
    if held is None:
        raise ClaimLost(claim.experiment_id, claim.attempt)
    return _pending_wish(held)


def end(
    tx: Connection,
    claim: Claim,
    to: State,
    *,
    kind: EventKind | None = None,
    detail: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Move it out of the claim; the rest as in `move`. A fence as well: the state changes only if the claim still holds
    it. Raises ClaimLost."""
    move(
        tx,
        claim.experiment_id,
        claim.attempt,
        State.RUNNING,
        to,
        kind=kind,
        worker_id=claim.worker_id,
        detail=detail,
        changes=changes,
    )


def renew(tx: Connection, claim: Claim, lease_ms: int) -> Wish | None:
    """The heartbeat: the lease ends `lease_ms` from now. Returns the pending wish. Raises ClaimLost."""
    return fence(tx, claim, lease_until_ms=now_ms() + lease_ms)


def release(tx: Connection, claim: Claim) -> State:
    """The worker stops on purpose: to where a pending wish wants it, or back to its old place in the queue.

    Returns the new state. Raises ClaimLost.
    """
    wish = renew(tx, claim, lease_ms=0)  # the fence, which tells the wish
    state = _OBEYED[wish] if wish else State.QUEUED
    end(tx, claim, state, kind=EventKind.RELEASED if state is State.QUEUED else None)
    return state


def expire(tx: Connection, max_failures: int) -> int:
    """Take back the running experiments whose leases have ended, a hundred at a time. Returns how many.

    Each goes where a pending wish wants it; else to the back of the queue, so that one which kills its workers blocks
    nobody; or ends as lost at `max_failures` failures.
    """
    # Locked in the order of their ids. One that is locked already is just being renewed or written.
    lost = tx.execute(
        select(
            experiments.c.id,
            experiments.c.attempt,
            experiments.c.requested,
            experiments.c.failures,
            experiments.c.priority,
            experiments.c.worker_id,
        )
        .where(experiments.c.state == literally(State.RUNNING), experiments.c.lease_until_ms < now_ms())
        .order_by(experiments.c.id)
        .limit(_AT_A_TIME)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    given_up = [row for row in lost if _take_back(tx, row, max_failures) is State.FAILED]
    failures = [Count(row.worker_id, Tally.FAILURES, kind=ErrorKind.LOST) for row in given_up]
    tallies.add(tx, [*(Count(row.worker_id, Tally.LEASES_LOST) for row in lost), *failures])
    return len(lost)


def _take_back(tx: Connection, row: AnyRow, max_failures: int) -> State:
    """The new state."""
    failures = row.failures + 1
    wish = _pending_wish(row)
    if wish:
        state, detail, changes = _OBEYED[wish], f"wished: {wish}", {}
    elif failures >= max_failures:
        state, detail = State.FAILED, _history(tx, row, failures)
        changes = {"failures": failures, **error_columns(ExperimentError(ErrorKind.LOST, detail))}
    else:
        state, detail = State.QUEUED, f"failure {failures} of {max_failures}"
        changes = {"failures": failures, "queued_ms": now_ms(), "rank": rank(row.priority)}
    move(
        tx,
        row.id,
        row.attempt,
        State.RUNNING,
        state,
        kind=EventKind.LEASE_LOST,
        worker_id=row.worker_id,
        detail=detail,
        changes=changes,
    )
    return state


def _history(tx: Connection, row: AnyRow, failures: int) -> str:
    """The failures that nothing has forgiven, in the words of the events."""
    lost = select(events.c.attempt, events.c.worker_id).where(
        events.c.experiment_id == row.id,
        events.c.kind == EventKind.LEASE_LOST,
        events.c.to_state == State.QUEUED,
    )
    before = tx.execute(lost.order_by(events.c.id.desc()).limit(failures - 1)).all()
    attempts = [*reversed(before), row]
    names = select(workers.c.id, NAME).where(workers.c.id.in_([each.worker_id for each in attempts]))
    worker = dict(tuple(row) for row in tx.execute(names))
    history = ", ".join(f"attempt {each.attempt} ({worker[each.worker_id]})" for each in attempts)
    return (
        f"its worker was lost {failures} times without a newer checkpoint: {history}. "
        "It may need more memory than the host has; the logs of the workers may say"
    )


def _pending_wish(row: AnyRow) -> Wish | None:
    return Wish(row.requested) if row.requested else None
