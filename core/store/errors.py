"""Errors of the store. Each is one sentence, fit to be shown to a user.

StoreError
├── NotFound              no experiment or sweep has this id
├── NotKept               the experiment has no such predictions or weights
├── NotAllowed            the state forbids it; the sentence names the state
├── NotLonger             to be extended to no more epochs than it has
├── NothingExtended       a sweep of which no experiment can go on
├── WrongDevice           to be trained on a CPU, which does not compute as the spec says
├── QueueFull             more would wait than the owner may have waiting
├── KeyReused             the idempotency key answers for another request
├── SweepChanged          somebody else was faster: look at the sweep again, and try the whole transaction again
├── ClaimLost             a fenced write was refused: stop, and write nothing more
├── CheckpointDamaged     its bytes are not those that were written: an older one may be good
├── CheckpointUnreachable its bytes cannot be read or written here and now; that says nothing of them
├── DatabaseUnavailable   passes by itself: try the whole transaction again
├── DatabaseBroken        does not pass: the disk is full, the file read-only or damaged
├── SchemaMissing         refuse to start: there are no tables yet
├── SchemaBehind          refuse to start
├── SchemaAhead           start, and say so
└── OtherHost             a SQLite file belongs to one host
"""

from core.errors import BallastError
from core.states import State, clause


class StoreError(BallastError):
    """Whatever the store refuses or cannot do."""


class NotFound(StoreError):
    def __init__(self, number: int, what: str = "experiment") -> None:
        super().__init__(f"there is no {what} {number}")


class NotKept(StoreError):
    """The experiment has none, or not yet, or not of this epoch."""


class NotAllowed(StoreError):
    def __init__(self, experiment_id: int, state: State, refusal: str) -> None:
        already = " already" if state is State.SUCCEEDED else ""
        super().__init__(f"experiment {experiment_id} {clause(state)}{already}: {refusal}")
        self.experiment_id = experiment_id
        self.state = state
        self.reason = refusal


class NotLonger(StoreError):
    def __init__(self, whose: str, epochs: int, wanted: int) -> None:
        super().__init__(f"{whose} has {epochs} epochs already: ask for more")
        self.epochs, self.wanted = epochs, wanted
        self.reason = f"it has {epochs} epochs already"


class NothingExtended(StoreError):
    """No experiment of the sweep can go on."""


class WrongDevice(StoreError):
    def __init__(self, precision: str) -> None:
        super().__init__(f"no CPU computes in {precision}: submit it for any device, or for a GPU")
        self.precision = precision


class QueueFull(StoreError):
    def __init__(self, owner: str, limit: int, queued: int, more: int) -> None:
        super().__init__(
            f"{owner} may have {limit} queued: {queued} are, and {more} more would be too many; "
            "wait for some of them, or cancel or pause some"
        )
        self.limit, self.left = limit, max(0, limit - queued)


class KeyReused(StoreError):
    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was sent before with another body or query: send a new request under a new key"
        )


class SweepChanged(StoreError):
    def __init__(self, sweep_id: int) -> None:
        super().__init__(f"sweep {sweep_id} was changed by somebody else just now: try again")


class ClaimLost(StoreError):
    def __init__(self, experiment_id: int, attempt: int) -> None:
        super().__init__(f"experiment {experiment_id} is no longer held by attempt {attempt}")
        self.experiment_id = experiment_id
        self.attempt = attempt


class CheckpointDamaged(StoreError):
    """Its checksum is another than when it was written."""


class CheckpointUnreachable(StoreError):
    """The place where checkpoints lie does not answer, is full, or has no such file."""

    def __init__(self, path: str, url: str, reason: str) -> None:
        what = f"checkpoint {path}" if path else "checkpoints"
        super().__init__(f"{what} cannot be reached below {url}: {reason}")
        self.reason = reason


class DatabaseUnavailable(StoreError):
    """The database is away or busy. The whole transaction may be tried again, never a single statement."""


class DatabaseBroken(StoreError):
    """The database cannot be opened or written, and waiting will not help."""


class SchemaMissing(StoreError):
    def __init__(self) -> None:
        super().__init__("the database has no tables yet: run `ballast db upgrade`")


class SchemaBehind(StoreError):
    def __init__(self) -> None:
        super().__init__("the database is older than this Ballast: run `ballast db upgrade`")


class SchemaAhead(StoreError):
    def __init__(self) -> None:
        super().__init__("the database is newer than this Ballast: upgrade Ballast on this host too")


class OtherHost(StoreError):
    def __init__(self, host: str) -> None:
        super().__init__(
            f"this database is in use on host {host}, and SQLite is for one host: use PostgreSQL (BALLAST_DATABASE_URL)"
        )
