"""What a worker process holds: its claim, and what stops the training of it. Heartbeat and writer set it, training
looks at it between two steps, and asks no database."""

from contextlib import suppress

from core.states import Wish
from core.store import tallies
from core.store.errors import StoreError
from core.store.leases import Claim
from core.store.session import Store
from core.store.tallies import Count, Tally
from core.tokens import WORKER
from worker.leave import Leave


class Held:
    """The claim that this process holds, and what its training must know at the next step."""

    def __init__(self, claim: Claim, leave: Leave) -> None:
        self.claim = claim
        self.wish: Wish | None = None  # written by two threads; an older answer over a newer one lasts for one beat
        self.lost = False
        self.stopped = False  # training is over, and what it gave is being written
        self.unobeyed_since: float | None = None
        self._leave = leave

    def must_stop(self) -> bool:
        return self.lost or self.wish is not None or self._leave.is_set()


def note_refusal(store: Store, claim: Claim) -> None:
    """A write of this claim was refused, since another may hold the experiment by now. Counted as far as that is
    possible: the write itself is undone."""
    with suppress(StoreError), store.writing(WORKER) as tx:
        tallies.add(tx, [Count(claim.worker_id, Tally.STALE_WRITES)])
