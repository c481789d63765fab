"""What has happened in all, also to what was deleted since: counted in the transaction that makes it happen, in rows of
the worker's own, so that nobody waits for another's (core/store/README.md, "Metrics").
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from core.states import ErrorKind
from core.store.tables import tallies


class Tally(StrEnum):
    """What is counted."""

    EPOCHS = "epochs"  # of the rows that were recorded, replayed ones too
    IMAGES = "images"  # that were trained on in those
    FAILURES = "failures"  # experiments that ended as failed; by kind of error
    LEASES_LOST = "leases_lost"  # that ended, and were taken back
    STALE_WRITES = "stale_writes"  # of a worker that no longer held the experiment: refused by the fence


class Count(NamedTuple):
    worker_id: int  # of whom it is told
    tally: Tally
    n: int = 1
    kind: ErrorKind | None = None  # of failures


def add(tx: Connection, counts: Iterable[Count]) -> None:
    """Last in a transaction, and of several workers in their order: two that count so never wait for each other."""
    rows = [
        {"worker_id": each.worker_id, "name": each.tally, "kind": each.kind or "", "n": each.n}
        for each in sorted(counts, key=lambda each: (each.worker_id, each.tally, each.kind or ""))
    ]
    if not rows:
        return
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    row = insert(tallies)
    more = row.on_conflict_do_update(
        index_elements=[tallies.c.worker_id, tallies.c.name, tallies.c.kind],
        set_={"n": tallies.c.n + row.excluded.n},
    )
    for each in rows:  # one by one: two of a statement may not be of the same row
        tx.execute(more, each)


def totals(tx: Connection) -> dict[tuple[Tally, ErrorKind | None], int]:
    """All that there are, of all workers together. (One that only a newer Ballast counts is left out.)"""
    found = select(tallies.c.name, tallies.c.kind, func.sum(tallies.c.n).label("n"))
    rows = tx.execute(found.group_by(tallies.c.name, tallies.c.kind)).all()
    return {
        (Tally(row.name), ErrorKind(row.kind) if row.kind else None): int(row.n)
        for row in rows
        if row.name in set(Tally) and row.kind in {"", *ErrorKind}
    }
