"""Places in the queue: the lowest rank is claimed first, and a point of priority is worth an hour of waiting. Which
experiments may be given another place is not decided here.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, update

from core.store import events
from core.store.clock import now_ms
from core.store.events import EventKind
from core.store.moves import in_parts
from core.store.tables import AnyRow, experiments

_HOUR_MS = 3_600_000  # a point of priority is worth an hour of waiting


def rank(priority: int | ColumnElement[int], queued_ms: ColumnElement[int] | None = None) -> ColumnElement[int]:
    """The place in the queue of what was queued at `queued_ms`; now, unless said."""
    return (now_ms() if queued_ms is None else queued_ms) - priority * _HOUR_MS


def change_priority(tx: Connection, locked: Sequence[AnyRow], priority: int) -> None:
    """Another place in the queue for those that have another priority. They wait, and this transaction has locked
    them."""
    others = [row for row in locked if row.priority != priority]
    values = {
        "priority": priority,
        "rank": rank(priority, experiments.c.queued_ms),
        "revision": experiments.c.revision + 1,
    }
    for part in in_parts(others):
        tx.execute(update(experiments).where(experiments.c.id.in_([row.id for row in part])).values(values))
    changed = [{"experiment_id": row.id, "attempt": row.attempt} for row in others]
    events.record_all(tx, EventKind.PRIORITY, changed, detail=str(priority))
