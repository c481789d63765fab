"""The standard streams of what serves: closed, full, or a pipe that nobody reads, they end no service."""

import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Put nothing in the place of standard streams that are closed, for us and for those that we start; else the next
    file that is opened, such as a database, would be taken for one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: `number`
    # Python has looked before us.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def say(line: str) -> None:
    """To standard output, if anybody can hear it."""
    _print(line, sys.stdout)


def complain(line: str) -> None:
    """To standard error, if anybody can hear it: the exit status that comes after it must be the one that is meant."""
    _print(line, sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # What Python still holds it would try to print again at its end, and fail.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
