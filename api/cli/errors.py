"""How a command fails that could be typed, sent and obeyed. Each is one sentence.

BallastError
├── CannotWrite       a file that was asked for
├── NotDeleted        nothing has ended
├── NotSucceeded      what was waited for failed or was cancelled
├── MadeElsewhere     a copy of PostgreSQL, which its own program makes
├── DemoFailed        the demo could not be played to its end
└── BenchFailed       a process that measures has ended
"""

from core.errors import BallastError


class CannotWrite(BallastError):
    """A file that was asked for cannot be written."""


class NotDeleted(BallastError):
    """Nothing has ended."""


class NotSucceeded(BallastError):
    """What was waited for failed or was cancelled."""


class MadeElsewhere(BallastError):
    """A copy of a PostgreSQL database is made by its own program."""

    def __init__(self) -> None:
        super().__init__(
            "nothing is copied yet: PostgreSQL's own program does it, by the line on standard output; the password "
            "comes from PGPASSWORD, ~/.pgpass or a service file"
        )


class DemoFailed(BallastError):
    """The demo could not be played to its end."""


class BenchFailed(BallastError):
    """A process that measures has ended."""
