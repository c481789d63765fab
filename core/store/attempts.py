"""What an attempt writes, under the fence of its claim: what it trains with, rows, checkpoints, news for its user, the
end. A worker that is refused writes nothing more.
"""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, case, or_, update

from core.results import EpochResult, Provenance
from core.states import State, Wish
from core.store import checkpoints, curves, events, leases, predictions, tallies
from core.store.checkpoints import Pointer, Saved
from core.store.clock import now_ms
from core.store.events import EventKind
from core.store.experiments import ExperimentError, error_columns
from core.store.leases import Claim, fence
from core.store.tables import checkpoints as checkpoints_table
from core.store.tables import experiments
from core.store.tallies import Count, Tally


def begin(tx: Connection, claim: Claim, provenance: Provenance, pointer: Pointer | None) -> None:
    """What this attempt trains with, and the checkpoint that it goes on from. Raises ClaimLost."""
    fence(
        tx,
        claim,
        provenance=provenance.as_json(),
        attempt_epoch=pointer.epoch if pointer else 0,
        revision=experiments.c.revision + 1,
    )
    if pointer is None:
        return
    since = f"after epoch {pointer.epoch}, step {pointer.step}, of attempt {pointer.attempt}"
    _add_event(tx, claim, EventKind.RESUMED, since)
    before, now = json.loads(pointer.numerics), asdict(provenance.numerics_key)
    if before != now:
        _add_event(tx, claim, EventKind.NUMERICS_CHANGED, _difference(before, now))


def note(tx: Connection, claim: Claim, kind: EventKind, detail: str) -> None:
    """What a user should know of this attempt. Raises ClaimLost."""
    fence(tx, claim, revision=experiments.c.revision + 1)
    _add_event(tx, claim, kind, detail)


def give_up(tx: Connection, claim: Claim, pointer: Pointer, why: str) -> None:
    """Never go on from this checkpoint again. Raises ClaimLost."""
    note(tx, claim, EventKind.CHECKPOINT_DAMAGED, why)
    checkpoints.drop(tx, checkpoints_table.c.id == pointer.id)


def save(tx: Connection, claim: Claim, saved: Saved) -> list[str]:
    """Point to a checkpoint, behind the rows that it stands behind; one that is farther than all before forgives the
    failures. Returns the paths that nobody points to any more. Raises ClaimLost."""
    farther = experiments.c.checkpoint_step < saved.iteration
    forgiven = farther & (experiments.c.failures > 0)
    fence(
        tx,
        claim,
        **_checkpoint_columns(claim, saved),
        failures=case((farther, 0), else_=experiments.c.failures),
        revision=experiments.c.revision + case((forgiven, 1), else_=0),
    )
    return checkpoints.add(tx, claim.experiment_id, claim.attempt, saved)


def _checkpoint_columns(claim: Claim, saved: Saved) -> dict[str, Any]:
    row = claim.spec.row_before(saved.epoch)
    return {
        "checkpoint_row": _at_least(experiments.c.checkpoint_row, row),
        "checkpoint_step": _at_least(experiments.c.checkpoint_step, saved.iteration),
        "checkpoint_device_kind": saved.device_kind,
    }


def record(tx: Connection, claim: Claim, row: EpochResult, epoch_seconds: float | None = None) -> Wish | None:
    """Write a row of the curve, or compare it with the one that stands; `epoch_seconds` is how long an
    epoch of this attempt takes.

    Returns the pending wish. Raises ClaimLost.
    """
    wish = fence(
        tx,
        claim,
        epochs_done=_at_least(experiments.c.epochs_done, row.epoch),
        attempt_epoch=row.epoch,
        epoch_seconds=epoch_seconds,
        progress_ms=now_ms(),
        revision=experiments.c.revision + 1,
    )
    _write_or_compare(tx, claim, row)
    tallies.add(tx, _trained(claim, row))
    return wish


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
    changes: dict[str, Any] = {} if saved is None else _checkpoint_columns(claim, saved)
    if row is not None:
        changes["epochs_done"] = _at_least(experiments.c.epochs_done, row.epoch)
        changes["diverged_at"] = row.epoch if row.diverged else None
    if epoch_seconds is not None:
        changes["epoch_seconds"] = epoch_seconds
    if error is not None:
        changes |= error_columns(error)
    leases.end(tx, claim, state, detail=error.message if error else None, changes=changes)
    if row is not None:
        _write_or_compare(tx, claim, row)
    without_pointer = [] if saved is None else checkpoints.add(tx, claim.experiment_id, claim.attempt, saved)
    failed = [Count(claim.worker_id, Tally.FAILURES, kind=error.kind)] if error is not None else []
    tallies.add(tx, [*failed, *(_trained(claim, row) if row is not None else [])])
    return without_pointer


def _trained(claim: Claim, row: EpochResult) -> list[Count]:
    """For a row: its epoch and, where not each has one, those since the row before."""
    epochs = row.epoch - claim.spec.row_before(row.epoch - 1)
    images = epochs * (row.train_n_base + row.train_n_other)
    return [Count(claim.worker_id, Tally.EPOCHS, epochs), Count(claim.worker_id, Tally.IMAGES, images)]


def _write_or_compare(tx: Connection, claim: Claim, row: EpochResult) -> None:
    """Write the row, once. One that stands is never rewritten: where a replay differs from it, that is recorded."""
    standing = curves.write(tx, claim.experiment_id, claim.attempt, row)
    if standing is None:
        predictions.write(tx, claim.experiment_id, row)
        return
    if standing.same_as(row):
        return
    # Only an earlier mismatch than the known one is news.
    known = experiments.c.replay_mismatch_from
    earlier = tx.execute(
        update(experiments)
        .where(experiments.c.id == claim.experiment_id, or_(known.is_(None), known > row.epoch))
        .values(replay_mismatch_from=row.epoch)
        .returning(experiments.c.id)
    ).one_or_none()
    if earlier is not None:
        detail = f"epoch {row.epoch} came out otherwise than the row that stands"
        _add_event(tx, claim, EventKind.REPLAY_MISMATCH, detail)


def _at_least(column: Column[int], value: int) -> ColumnElement[int]:
    return case((column < value, value), else_=column)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    keys = [*before, *(key for key in now if key not in before)]
    changed = [f"{key} {now.get(key)} instead of {before.get(key)}" for key in keys if before.get(key) != now.get(key)]
    return f"its bits may differ from here on: {', '.join(changed)}"


def _add_event(tx: Connection, claim: Claim, kind: EventKind, detail: str) -> None:
    events.record(tx, claim.experiment_id, kind, attempt=claim.attempt, worker_id=claim.worker_id, detail=detail)
