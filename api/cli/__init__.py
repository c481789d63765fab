"""The command line: `show` speaks HTTP only, `run` touches the machine."""

import os
import signal
import threading
from typing import NoReturn

from core.streams import ready_streams

_INTERRUPTED = 130


def ballast() -> None:
    """What a shell starts. Ctrl-C in the half second that the imports take ends it without a traceback."""
    ready_streams()
    heeded = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as of what a script starts with &
    if heeded:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from api.cli.main import main

    if heeded:
        signal.signal(signal.SIGINT, _interrupt)
    main()


def _interrupt(*_: object) -> NoReturn:
    """Python drops an exception that meets it in a callback of its own: then a second must be long enough."""
    end = threading.Timer(1, os._exit, [_INTERRUPTED])
    end.daemon = True
    end.start()
    raise KeyboardInterrupt
