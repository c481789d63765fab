"""How many experiments of an owner may wait, counted in the transaction that queues more. How many may run is obeyed by
`claims`; how many requests a minute are answered is not SQL's concern.
"""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from core.states import State
from core.store.errors import QueueFull
from core.store.tables import experiments, literally, tokens


def require_room(tx: Connection, owners: Iterable[str]) -> None:
    """For one more of each that is named, as often as it is. The token is locked until the end of the transaction, so
    that of two that queue at the same time the second counts what the first has queued. Raises QueueFull."""
    for owner, more in Counter(owners).items():
        limit = tx.execute(
            select(tokens.c.max_queued)
            .where(tokens.c.name == owner, tokens.c.max_queued.is_not(None))
            .with_for_update(key_share=True)
        ).scalar()
        if limit is None:
            continue
        queued = tx.execute(
            select(func.count()).where(experiments.c.state == literally(State.QUEUED), experiments.c.owner == owner)
        ).scalar_one()
        if queued + more > limit:
            raise QueueFull(owner, limit, queued, more)
