"""Claims: how an experiment gets to one worker, stays there under a lease, and leaves it (DESIGN §5, STORE §3, §4).

A claim is a lease on the experiment's row. Its attempt is the fencing token: every write of a worker begins with a
statement that changes the row only if that attempt still holds it, and a worker that is refused writes nothing more.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Column, ColumnElement, Connection, case, func, or_, select, update

from core.results import EpochResult
from core.spec import Spec
from core.states import ErrorKind, State, Wish
from core.store import checkpoints, curves, events, predictions
from core.store.checkpoints import Pointer, Saved
from core.store.clock import now_ms
from core.store.errors import ClaimLost
from core.store.experiments import ExperimentError, move, rank
from core.store.tables import AnyRow, experiments, literally, workers
from core.store.tables import checkpoints as checkpoints_table
from core.store.tables import events as events_table
from core.store.workers import NAME

_CLAIMERS = 0xBA11A57  # the advisory lock that claimers take in turn

_AT_A_TIME = 100  # a pass must take less than a heartbeat, or it looks like an outage (worker/reconciler.py)

_OBEYED = {Wish.CANCEL: State.CANCELLED, Wish.PAUSE: State.PAUSED}


@dataclass(frozen=True, slots=True)
class Claim:
    experiment_id: int
    attempt: int
    worker_id: int
    spec: Spec
    folder: str  # of its checkpoints
    data_sha256: str | None  # of the images that its rows and checkpoints are of; None: there are none yet


def claim(tx: Connection, worker_id: int, lease_ms: int, kind: str = "cpu") -> Claim | None:
    """The experiment of the lowest rank that a device of this kind may take, now running under a lease of this worker;
    None if none is queued."""
    if tx.dialect.name == "postgresql":  # SQLite's write transaction is such a lock by itself
        tx.execute(select(func.pg_advisory_xact_lock(_CLAIMERS)))
    while (head := _head(tx, kind)) is not None:
        taken = {
            "attempt": head.attempt + 1,
            "worker_id": worker_id,
            "lease_until_ms": now_ms() + lease_ms,
            "started_ms": func.coalesce(experiments.c.started_ms, now_ms()),
            "progress_ms": now_ms(),
        }
        move(tx, head.id, head.attempt, State.QUEUED, State.RUNNING, kind="claimed", worker_id=worker_id, changes=taken)
        try:
            spec = Spec.model_validate_json(head.spec)
        except ValidationError:  # a newer API wrote it: it must not stop the queue
            _refuse(tx, head.id, head.attempt + 1, worker_id)
        else:
            folder = checkpoints.folder(head.id, head.created_ms)
            return Claim(head.id, head.attempt + 1, worker_id, spec, folder, _data_of(head))
    return None


def _head(tx: Connection, kind: str) -> AnyRow | None:
    """Of the queue; one that its user is just cancelling is passed over. One with a checkpoint waits a while for the
    kind of device that wrote it: a CPU should not go on with what an H200 began."""
    theirs = experiments.c.checkpoint_kind
    mine = or_(
        theirs.is_(None),
        theirs == kind,
        func.coalesce(experiments.c.requeued_ms, 0) < now_ms() - checkpoints.RESERVED_MS,
    )
    return tx.execute(
        select(
            experiments.c.id,
            experiments.c.attempt,
            experiments.c.spec,
            experiments.c.created_ms,
            experiments.c.provenance,
            experiments.c.epochs_done,
            experiments.c.checkpoint_step,
        )
        .where(experiments.c.state == literally(State.QUEUED), mine)
        .order_by(experiments.c.rank, experiments.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    ).one_or_none()


def _data_of(head: AnyRow) -> str | None:
    if not head.provenance or not (head.epochs_done or head.checkpoint_step):
        return None
    sha256: str | None = json.loads(head.provenance).get("dataset", {}).get("sha256")
    return sha256


def renew(tx: Connection, claim: Claim, lease_ms: int) -> Wish | None:
    """The heartbeat: the lease ends `lease_ms` from now. Returns the pending wish. Raises ClaimLost."""
    return _wish(_fence(tx, claim, lease_until_ms=now_ms() + lease_ms))


def begin(tx: Connection, claim: Claim, provenance: dict[str, Any], pointer: Pointer | None) -> None:
    """What this attempt trains with, and the checkpoint that it goes on from. Raises ClaimLost."""
    _fence(
        tx,
        claim,
        provenance=json.dumps(provenance),
        attempt_epoch=pointer.epoch if pointer else 0,
        revision=experiments.c.revision + 1,
    )
    if pointer is None:
        return
    _note(tx, claim, "resumed", f"after epoch {pointer.epoch}, step {pointer.step}, of attempt {pointer.attempt}")
    before, now = json.loads(pointer.numerics), provenance["numerics_key"]
    if before != now:
        _note(tx, claim, "numerics_changed", _difference(before, now))


def tell(tx: Connection, claim: Claim, kind: str, detail: str) -> None:
    """What a user should know of this attempt. Raises ClaimLost."""
    _fence(tx, claim, revision=experiments.c.revision + 1)
    _note(tx, claim, kind, detail)


def give_up(tx: Connection, claim: Claim, pointer: Pointer, why: str) -> None:
    """Never go on from this checkpoint again. Raises ClaimLost."""
    tell(tx, claim, "checkpoint_damaged", why)
    checkpoints.drop(tx, checkpoints_table.c.id == pointer.id)


def save(tx: Connection, claim: Claim, saved: Saved) -> list[str]:
    """Point to a checkpoint, behind the rows that it stands behind; one that is farther than all before forgives the
    failures. Returns the paths that nobody points to any more. Raises ClaimLost."""
    farther = experiments.c.checkpoint_step < saved.iteration
    forgiven = farther & (experiments.c.failures > 0)
    _fence(
        tx,
        claim,
        **_pointing(claim, saved),
        failures=case((farther, 0), else_=experiments.c.failures),
        revision=experiments.c.revision + case((forgiven, 1), else_=0),
    )
    return checkpoints.add(tx, claim.experiment_id, claim.attempt, saved)


def _pointing(claim: Claim, saved: Saved) -> dict[str, Any]:
    row = claim.spec.row_before(saved.epoch)
    return {
        "checkpoint_row": _at_least(experiments.c.checkpoint_row, row),
        "checkpoint_step": _at_least(experiments.c.checkpoint_step, saved.iteration),
        "checkpoint_kind": saved.kind,
    }


def record(tx: Connection, claim: Claim, row: EpochResult, epoch_seconds: float | None = None) -> Wish | None:
    """Write a row of the curve, or compare it with the one that stands; `epoch_seconds` is how long an
    epoch of this attempt takes.

    Returns the pending wish. Raises ClaimLost.
    """
    held = _fence(
        tx,
        claim,
        epochs_done=_at_least(experiments.c.epochs_done, row.epoch),
        attempt_epoch=row.epoch,
        epoch_seconds=epoch_seconds,
        progress_ms=now_ms(),
        revision=experiments.c.revision + 1,
    )
    _keep(tx, claim, row)
    return _wish(held)


def finish(
    tx: Connection,
    claim: Claim,
    row: EpochResult | None,
    state: State,
    error: ExperimentError | None = None,
    epoch_seconds: float | None = None,
    saved: Saved | None = None,
) -> list[str]:
    """End it as succeeded, or as failed with its error, together with its last row and the checkpoint after it;
    `epoch_seconds` as in `record`. Returns the paths that nobody points to any more. Raises ClaimLost."""
    changes: dict[str, Any] = {} if saved is None else _pointing(claim, saved)
    if row is not None:
        changes["epochs_done"] = _at_least(experiments.c.epochs_done, row.epoch)
        changes["diverged_at"] = row.epoch if row.diverged else None
    if epoch_seconds is not None:
        changes["epoch_seconds"] = epoch_seconds
    if error is not None:
        changes |= _error(error)
    _leave(tx, claim, state, detail=error.message if error else None, changes=changes)
    if row is not None:
        _keep(tx, claim, row)
    return [] if saved is None else checkpoints.add(tx, claim.experiment_id, claim.attempt, saved)


def release(tx: Connection, claim: Claim) -> State:
    """The worker stops on purpose: to where a pending wish wants it, or back to its old place in the queue.

    Returns the new state. Raises ClaimLost.
    """
    wish = renew(tx, claim, lease_ms=0)  # the fence, which tells the wish
    state = _OBEYED[wish] if wish else State.QUEUED
    _leave(tx, claim, state, kind="released" if state is State.QUEUED else None)
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
    for row in lost:
        _take_back(tx, row, max_failures)
    return len(lost)


def _take_back(tx: Connection, row: AnyRow, max_failures: int) -> None:
    failures = row.failures + 1
    wish = _wish(row)
    if wish:
        state, detail, changes = _OBEYED[wish], f"wished: {wish}", {}
    elif failures >= max_failures:
        state, detail = State.FAILED, _history(tx, row, failures)
        changes = {"failures": failures, **_error(ExperimentError(ErrorKind.LOST, detail))}
    else:
        state, detail = State.QUEUED, f"failure {failures} of {max_failures}"
        changes = {"failures": failures, "queued_ms": now_ms(), "rank": rank(row.priority)}
    move(
        tx,
        row.id,
        row.attempt,
        State.RUNNING,
        state,
        kind="lease_lost",
        worker_id=row.worker_id,
        detail=detail,
        changes=changes,
    )


def _history(tx: Connection, row: AnyRow, failures: int) -> str:
    """The failures that nothing has forgiven, in the words of the events."""
    lost = select(events_table.c.attempt, events_table.c.worker_id).where(
        events_table.c.experiment_id == row.id,
        events_table.c.kind == "lease_lost",
        events_table.c.to_state == State.QUEUED,
    )
    before = tx.execute(lost.order_by(events_table.c.id.desc()).limit(failures - 1)).all()
    attempts = [*reversed(before), row]
    names = select(workers.c.id, NAME).where(workers.c.id.in_([each.worker_id for each in attempts]))
    worker = dict(tuple(row) for row in tx.execute(names))
    history = ", ".join(f"attempt {each.attempt} ({worker[each.worker_id]})" for each in attempts)
    return (
        f"its worker was lost {failures} times without a newer checkpoint: {history}. "
        "It may need more memory than the host has; the logs of the workers may say"
    )


def _fence(tx: Connection, claim: Claim, **changes: Any) -> AnyRow:
    """The first statement of every write: changes the row only if the claim still holds it. Raises ClaimLost."""
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
    return held


def _leave(tx: Connection, claim: Claim, state: State, **options: Any) -> None:
    """A fence as well: the state changes only if the claim still holds it."""
    move(tx, claim.experiment_id, claim.attempt, State.RUNNING, state, worker_id=claim.worker_id, **options)


def _keep(tx: Connection, claim: Claim, row: EpochResult) -> None:
    """Write the row, once. One that stands is never rewritten: where a replay differs from it, that is recorded."""
    standing = curves.write(tx, claim.experiment_id, claim.attempt, row)
    if standing is None:
        predictions.write(tx, claim.experiment_id, row)
        return
    if standing.same_as(row):
        return
    # Only an earlier mismatch than the known one is news.
    known = experiments.c.replay_mismatch_from
    news = tx.execute(
        update(experiments)
        .where(experiments.c.id == claim.experiment_id, or_(known.is_(None), known > row.epoch))
        .values(replay_mismatch_from=row.epoch)
        .returning(experiments.c.id)
    ).one_or_none()
    if news is not None:
        _note(tx, claim, "replay_mismatch", f"epoch {row.epoch} came out otherwise than the row that stands")


def _refuse(tx: Connection, experiment_id: int, attempt: int, worker_id: int) -> None:
    error = ExperimentError(ErrorKind.INTERNAL, "this worker is too old for the spec: upgrade Ballast on its host")
    move(
        tx,
        experiment_id,
        attempt,
        State.RUNNING,
        State.FAILED,
        worker_id=worker_id,
        detail=error.message,
        changes=_error(error),
    )


def _at_least(column: Column[int], value: int) -> ColumnElement[int]:
    return case((column < value, value), else_=column)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    keys = [*before, *(key for key in now if key not in before)]
    changed = [f"{key} {now.get(key)} instead of {before.get(key)}" for key in keys if before.get(key) != now.get(key)]
    return f"its bits may differ from here on: {', '.join(changed)}"


def _note(tx: Connection, claim: Claim, kind: str, detail: str) -> None:
    events.record(tx, claim.experiment_id, kind, attempt=claim.attempt, worker_id=claim.worker_id, detail=detail)


def _error(error: ExperimentError) -> dict[str, str | None]:
    return {
        "error_kind": error.kind,
        "error_message": events.storable(error.message),
        "error_traceback": events.storable(error.traceback) if error.traceback else None,
    }


def _wish(row: AnyRow) -> Wish | None:
    return Wish(row.requested) if row.requested else None
