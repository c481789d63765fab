"""What has happened in all, also to what was deleted since: counted in the transaction that makes it happen, in rows of
the worker's own, so that nobody waits for another's (core/store/README.md, "Metrics").
"""

from collections import Counter
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
    sums: Counter[tuple[int, str, str]] = Counter()
    for each in counts:
        sums[each.worker_id, each.tally, each.kind or ""] += each.n
    if not sums:
        return
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    rows = insert(tallies).values([(*key, n) for key, n in sorted(sums.items())])
    more = {"n": tallies.c.n + rows.excluded.n}
    tx.execute(rows.on_conflict_do_update(index_elements=list(tallies.primary_key), set_=more))


def totals(tx: Connection) -> dict[tuple[Tally, ErrorKind | None], int]:
    """All that there are, of all workers together. (One that only a newer Ballast counts is left out.)"""
    found = select(tallies.c.name, tallies.c.kind, func.sum(tallies.c.n).label("n"))
    rows = tx.execute(found.group_by(tallies.c.name, tallies.c.kind)).all()
    return {
        (Tally(row.name), ErrorKind(row.kind) if row.kind else None): int(row.n)
        for row in rows
        if row.name in set(Tally) and row.kind in {"", *ErrorKind}
    }
