"""The workers: who they are, what they do, when they were last seen. What they hold is the concern of `claims` and
`leases`.
"""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Text, case, cast, func, insert, select, update

from core.cost import Place
from core.states import WorkerState
from core.store.clock import now_ms
from core.store.tables import AnyRow, workers

NAME = workers.c.host + ":" + cast(workers.c.pid, Text)

_SILENT_MS = 60_000

_ALIVE = (WorkerState.IDLE, WorkerState.BUSY, WorkerState.LEAVING)


class GpuUse(NamedTuple):
    """Of a GPU as a whole, whoever uses it."""

    memory_used_mib: int
    memory_total_mib: int
    utilisation: int | None  # percent of the last second; None where the driver does not tell, as of a MIG slice


@dataclass(frozen=True, slots=True)
class Worker:
    id: int
    host: str
    pid: int
    device: str
    device_kind: str  # a GPU's model, or "cpu"
    state: WorkerState
    experiment_id: int | None
    started_ms: int
    seen_ms: int
    gpu: GpuUse | None  # at the last heartbeat; None on a CPU, and where the driver does not tell


def register(tx: Connection, host: str, pid: int, device: str, device_kind: str) -> int:
    """The id of a new, idle worker."""
    row = insert(workers).values(
        host=host,
        pid=pid,
        device=device,
        device_kind=device_kind,
        state=WorkerState.IDLE,
        started_ms=now_ms(),
        seen_ms=now_ms(),
    )
    worker_id: int = tx.execute(row.returning(workers.c.id)).scalar_one()
    return worker_id


def report(tx: Connection, worker_id: int, state: WorkerState, experiment_id: int | None) -> None:
    """The worker says that it lives and what it does. One that was marked dead lives again."""
    tx.execute(
        update(workers)
        .where(workers.c.id == worker_id)
        .values(state=state, experiment_id=experiment_id, seen_ms=now_ms())
    )


def report_gpu(tx: Connection, worker_id: int, use: GpuUse | None) -> None:
    """How full its GPU is; None where the driver does not tell."""
    columns = dict.fromkeys(GpuUse._fields) if use is None else use._asdict()
    tx.execute(update(workers).where(workers.c.id == worker_id).values(columns))


def gpu_use_of(row: AnyRow) -> GpuUse | None:
    """Of a worker's row."""
    if row.memory_total_mib is None:
        return None
    return GpuUse(row.memory_used_mib, row.memory_total_mib, row.utilisation)


def all_workers(tx: Connection, limit: int) -> list[Worker]:
    """Those alive first, and of each kind the newest first."""
    alive_first = case((workers.c.state.in_(_ALIVE), 0), else_=1)
    rows = tx.execute(select(workers).order_by(alive_first, workers.c.id.desc()).limit(limit))
    return [
        Worker(
            id=row.id,
            host=row.host,
            pid=row.pid,
            device=row.device,
            device_kind=row.device_kind,
            state=WorkerState(row.state),
            experiment_id=row.experiment_id,
            started_ms=row.started_ms,
            seen_ms=row.seen_ms,
            gpu=gpu_use_of(row),
        )
        for row in rows
    ]


def mark_dead(tx: Connection, silent_ms: int) -> list[int]:
    """Mark as dead who was not seen for `silent_ms`. Returns their ids."""
    # Locked in order before the update, or two reconcilers could wait for each other.
    silent = tx.scalars(
        select(workers.c.id)
        .where(workers.c.state.in_(_ALIVE), workers.c.seen_ms < now_ms() - silent_ms)
        .order_by(workers.c.id)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    if silent:
        tx.execute(update(workers).where(workers.c.id.in_(silent)).values(state=WorkerState.DEAD, experiment_id=None))
    return list(silent)


def serving_device_kinds(tx: Connection) -> dict[str, int]:
    """How many can take an experiment, now or when they have ended one (alive, and not leaving), by what they train
    on."""
    serving = _seen_lately(WorkerState.IDLE, WorkerState.BUSY)
    kinds = select(workers.c.device_kind, func.count()).where(serving).group_by(workers.c.device_kind)
    return dict(tuple(row) for row in tx.execute(kinds))


def serving_places(tx: Connection) -> list[Place]:
    """Where each of those trains, in the order in which they began."""
    serving = _seen_lately(WorkerState.IDLE, WorkerState.BUSY)
    rows = tx.execute(select(workers.c.host, workers.c.device_kind).where(serving).order_by(workers.c.id))
    return [Place(row.host, row.device_kind) for row in rows]


def count_alive(tx: Connection) -> int:
    """How many may be using the database."""
    return _count(tx, *_ALIVE)


def seen_alive() -> ColumnElement[bool]:
    """Of whom there was a heartbeat in the last minute, and who has not left."""
    return _seen_lately(*_ALIVE)


def _count(tx: Connection, *states: WorkerState) -> int:
    return tx.execute(select(func.count()).select_from(workers).where(_seen_lately(*states))).scalar_one()


def _seen_lately(*states: WorkerState) -> ColumnElement[bool]:
    """In the last minute, which is three heartbeats at least."""
    return workers.c.state.in_(states) & (workers.c.seen_ms > now_ms() - _SILENT_MS)
