"""Whose turn it is: a claim goes to the owner with the fewest running, of those to the one who has waited longest for
it, and then to the lowest rank of theirs. So one sweep of thousands holds nobody up, and no device idles for it. Who
has as many running as their token may is passed over.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from itertools import count, islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.states import State
from core.store.tables import experiments, literally, owners, tokens

_Each = TypeVar("_Each")

_NEXT_TURN = select(func.max(owners.c.last_turn) + 1).scalar_subquery()  # no time: a clock may be set back
_TAKEN = update(owners).where(owners.c.name == bindparam("taker")).values(last_turn=_NEXT_TURN)


class Share(NamedTuple):
    """How many an owner has running, and at most may have; None: as many as there are workers."""

    running: int
    limit: int | None = None

    @property
    def room(self) -> int | None:
        """For how many more; None: for any number."""
        return None if self.limit is None else max(0, self.limit - self.running)


def remember(tx: Connection, owner: str) -> None:
    """Whoever has experiments has turns."""
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    tx.execute(insert(owners).values(name=owner).on_conflict_do_nothing())


def shares(tx: Connection) -> dict[str, Share]:
    """Of each owner who has something queued, in the order of their turns."""
    return {row.name: Share(row.n, row.max_running) for row in tx.execute(_shares())}


@functools.cache  # made once: others wait while one claims
def _shares() -> Select[Any]:
    running = (
        select(experiments.c.owner, func.count().label("n"))
        .where(experiments.c.state == literally(State.RUNNING))
        .group_by(experiments.c.owner)
        .subquery()
    )
    # One of them, in the order in which the index has them: without an order, PostgreSQL may search the whole table for
    # one of an owner who has none, and EXISTS it would answer by a join with the whole queue.
    queued = (
        select(experiments.c.id)
        .where(experiments.c.state == literally(State.QUEUED), experiments.c.owner == owners.c.name)
        .order_by(experiments.c.device, experiments.c.rank, experiments.c.id)
        .limit(1)
        .scalar_subquery()
    )
    n = func.coalesce(running.c.n, 0)
    return (
        select(owners.c.name, n.label("n"), tokens.c.max_running)
        .outerjoin(running, running.c.owner == owners.c.name)
        .outerjoin(tokens, tokens.c.name == owners.c.name)
        .where(queued.is_not(None))
        .order_by(n, owners.c.last_turn, owners.c.name)
    )


def limits(tx: Connection) -> dict[str, int]:
    """How many of an owner may run at once, of those who may not have as many as they like."""
    found = tx.execute(select(tokens.c.name, tokens.c.max_running).where(tokens.c.max_running.is_not(None)))
    return {row.name: row.max_running for row in found}


def taken(tx: Connection, owner: str) -> None:
    """One of theirs was claimed just now."""
    tx.execute(_TAKEN, {"taker": owner})


def in_turn(shares: Mapping[str, Share], queues: Mapping[str, Iterable[_Each]]) -> Iterator[_Each]:
    """What is queued of each owner, in the order in which it would be claimed if nothing ended: `shares` are those of
    `shares`. What would then not be claimed, since its owner has all running that they may, is left out."""
    claims = count(len(shares))  # the later an owner's last one, the later their turn
    heap = [
        (share.running, place, islice(queues[owner], share.room)) for place, (owner, share) in enumerate(shares.items())
    ]
    heapify(heap)
    while heap:
        n, _, queue = heap[0]
        try:
            yield next(queue)
        except StopIteration:
            heappop(heap)
        else:
            heapreplace(heap, (n + 1, next(claims), queue))
