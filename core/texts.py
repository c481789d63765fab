"""Texts on their way out: what a terminal cannot show is replaced, what it would obey is written out. Never a traceback
for a dash of ours. (Their way in has JSON's own rules: bytes, in UTF-8, UTF-16 or UTF-32.)
"""

import io
import os
import re
import sys
from pathlib import Path

# Control characters; what turns the direction of the line around; halves of a surrogate pair, such as of a file's name.
_NOT_TO_BE_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def ready_streams() -> None:
    """What a program does first: it can write whatever it has to say, to wherever it was told.

    A stream that is closed, as by `>&-`, becomes the null device: else the next file that is opened takes its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # as standard error does by itself


def _nowhere(mode: str) -> io.TextIOWrapper:
    stream = Path(os.devnull).open(mode)  # noqa: SIM115 - for as long as the process lasts
    os.set_inheritable(stream.fileno(), True)  # by the program that takes our place, too
    assert isinstance(stream, io.TextIOWrapper)
    return stream


def plain(text: str) -> str:
    """`text` in one line that no terminal obeys: an escape character as \\x1b."""
    return _NOT_TO_BE_SHOWN.sub(lambda found: repr(found[0])[1:-1], text)
