"""What a worker process holds: its claim, and what stops the training of it. Heartbeat and writer set it, training
looks at it between two steps; nothing here asks the database."""

from core.states import Wish
from core.store.leases import Claim
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
