"""Whose turn it is: a claim goes to the owner with the fewest running, of those to the one who has waited longest for
it, and then to the lowest rank of theirs. So one sweep of thousands holds nobody up, and no device idles for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from itertools import count
from typing import TypeVar

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.states import State
from core.store.tables import experiments, literally, owners

_Each = TypeVar("_Each")


def remember(tx: Connection, owner: str) -> None:
    """Whoever has experiments has turns."""
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    tx.execute(insert(owners).values(name=owner).on_conflict_do_nothing())


def running_by_owner(tx: Connection) -> dict[str, int]:
    """How many each owner has running, of those that have something queued; in the order of their turns."""
    running = (
        select(experiments.c.owner, func.count().label("n"))
        .where(experiments.c.state == literally(State.RUNNING))
        .group_by(experiments.c.owner)
        .subquery()
    )
    # One of them, which an index finds; PostgreSQL would answer EXISTS by a join with the whole queue.
    queued = (
        select(experiments.c.id)
        .where(experiments.c.state == literally(State.QUEUED), experiments.c.owner == owners.c.name)
        .limit(1)
        .scalar_subquery()
    )
    n = func.coalesce(running.c.n, 0)
    found = tx.execute(
        select(owners.c.name, n.label("n"))
        .outerjoin(running, running.c.owner == owners.c.name)
        .where(queued.is_not(None))
        .order_by(n, owners.c.last_turn, owners.c.name)
    )
    return {row.name: row.n for row in found}


def taken(tx: Connection, owner: str) -> None:
    """One of theirs was claimed just now."""
    next_turn = select(func.max(owners.c.last_turn) + 1).scalar_subquery()  # no time: a clock may be set back
    tx.execute(update(owners).where(owners.c.name == owner).values(last_turn=next_turn))


def in_turn(running: Mapping[str, int], queues: Mapping[str, Iterable[_Each]]) -> Iterator[_Each]:
    """What is queued of each owner, in the order in which it would be claimed if nothing ended: `running` is that of
    `running_by_owner`."""
    claims = count(len(running))  # the later an owner's last one, the later their turn
    heap = [(n, place, iter(queues[owner])) for place, (owner, n) in enumerate(running.items())]
    heapify(heap)
    while heap:
        n, _, queue = heap[0]
        try:
            yield next(queue)
        except StopIteration:
            heappop(heap)
        else:
            heapreplace(heap, (n + 1, next(claims), queue))
