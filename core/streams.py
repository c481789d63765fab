"""The standard streams of a program. Closed, full, a pipe that nobody reads: they end no service. What a terminal
cannot show is replaced, what it would obey is written out: no traceback for a dash of ours.
"""

import io
import os
import re
import sys
from typing import TextIO

# Control characters; what turns the direction of the line around; halves of a surrogate pair, such as of a file's name.
_NOT_TO_BE_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def prepare_streams() -> None:
    """What a program does first. Streams that are closed become the null device, for us and for those that we start;
    else the next file that is opened, such as a database, would be taken for one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free: `number`
    # Python has looked before us.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # as standard error does by itself


def printable(text: str) -> str:
    """`text` in one line that no terminal obeys: an escape character as \\x1b."""
    return _NOT_TO_BE_SHOWN.sub(lambda found: repr(found[0])[1:-1], text)


def print_line(line: str) -> None:
    """To standard output, if anybody can hear it."""
    _print(line, sys.stdout)


def print_error(sentence: str) -> None:
    """To standard error, if anybody can hear it: the exit status that comes after it must be the one that is meant."""
    _print(f"ballast: {sentence}", sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    try:
        print(printable(line), file=stream, flush=True)
    except OSError:
        # What Python still holds it would try to print again at its end, and fail.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
