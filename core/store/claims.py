"""Who is next: how an experiment gets from the queue to one worker. What becomes of its lease is the concern of
`leases`, what its worker writes that of `attempts`.
"""

import functools
import json
from typing import Any

from pydantic import ValidationError
from sqlalchemy import CompoundSelect, Connection, Select, bindparam, func, or_, select, union_all

from core.spec import Spec
from core.states import DeviceType, ErrorKind, State
from core.store import checkpoints, tallies, turns
from core.store.clock import now_ms
from core.store.events import EventKind
from core.store.experiments import ExperimentError, error_columns
from core.store.leases import Claim
from core.store.moves import move
from core.store.slots import devices_for, slot_type
from core.store.tables import AnyRow, experiments, literally
from core.store.tallies import Count, Tally

_CLAIMERS = 0xBA11A57  # the advisory lock that claimers take in turn


def claim(tx: Connection, worker_id: int, lease_ms: int, device_kind: str = "cpu") -> Claim | None:
    """The experiment whose turn it is of those that this kind of device may take, now running under a lease of this
    worker; None if none is queued."""
    if tx.dialect.name == "postgresql":  # SQLite's write transaction is such a lock by itself
        tx.execute(select(func.pg_advisory_xact_lock(_CLAIMERS)))
    while (head := _next(tx, device_kind)) is not None:
        turns.taken(tx, head.owner)
        lease = {
            "attempt": head.attempt + 1,
            "worker_id": worker_id,
            "lease_until_ms": now_ms() + lease_ms,
            "started_ms": func.coalesce(experiments.c.started_ms, now_ms()),
            "progress_ms": now_ms(),
        }
        move(
            tx,
            head.id,
            head.attempt,
            State.QUEUED,
            State.RUNNING,
            kind=EventKind.CLAIMED,
            worker_id=worker_id,
            changes=lease,
        )
        try:
            spec = Spec.model_validate_json(head.spec)
        except ValidationError:  # a newer API wrote it: it must not stop the queue
            _fail_unreadable(tx, head.id, head.attempt + 1, worker_id)
        else:
            folder = checkpoints.folder(head.id, head.created_ms)
            return Claim(head.id, head.attempt + 1, worker_id, head.owner, spec, folder, _data_sha256(head))
    return None


def _next(tx: Connection, device_kind: str) -> AnyRow | None:
    for owner, share in turns.shares(tx).items():
        if share.room != 0 and (head := _head(tx, owner, device_kind)):
            return head
    return None


def _head(tx: Connection, owner: str, device_kind: str) -> AnyRow | None:
    """Of an owner's queue, as far as this kind of device may take it."""
    heads = tx.execute(_heads(slot_type(device_kind)), {"owner": owner, "device_kind": device_kind}).all()
    return min(heads, key=lambda head: (head.rank, head.id), default=None)


@functools.cache  # made once: others wait while one claims
def _heads(slot: DeviceType) -> CompoundSelect[Any]:
    """One look-up for each device, whatever is queued for others."""
    return union_all(*(select(_first(device).subquery(f"for_{device}")) for device in devices_for(slot)))


def _first(device: DeviceType) -> Select[Any]:
    """One that its user is just cancelling is passed over. One with a checkpoint waits a while for the kind of device
    that wrote it: a CPU should not go on with what an H200 began."""
    written_on = experiments.c.checkpoint_device_kind
    may_go_on = or_(
        written_on.is_(None),
        written_on == bindparam("device_kind"),
        func.coalesce(experiments.c.requeued_ms, 0) < now_ms() - checkpoints.RESERVED_MS,
    )
    return (
        select(
            experiments.c.id,
            experiments.c.owner,
            experiments.c.rank,
            experiments.c.attempt,
            experiments.c.spec,
            experiments.c.created_ms,
            experiments.c.provenance,
            experiments.c.epochs_done,
            experiments.c.checkpoint_step,
        )
        .where(
            experiments.c.state == literally(State.QUEUED),
            experiments.c.owner == bindparam("owner"),
            experiments.c.device == device,
            may_go_on,
        )
        .order_by(experiments.c.rank, experiments.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )


def _data_sha256(head: AnyRow) -> str | None:
    if not head.provenance or not (head.epochs_done or head.checkpoint_step):
        return None
    sha256: str | None = json.loads(head.provenance).get("dataset", {}).get("sha256")
    return sha256


def _fail_unreadable(tx: Connection, experiment_id: int, attempt: int, worker_id: int) -> None:
    error = ExperimentError(ErrorKind.INTERNAL, "this worker is too old for the spec: upgrade Ballast on its host")
    move(
        tx,
        experiment_id,
        attempt,
        State.RUNNING,
        State.FAILED,
        worker_id=worker_id,
        detail=error.message,
        changes=error_columns(error),
    )
    tallies.add(tx, [Count(worker_id, Tally.FAILURES, kind=error.kind)])
