"""The command line: commands of `http/` speak HTTP only, those of `machine/` touch this machine."""

import os
import signal
import sys
import threading
import warnings
from typing import NoReturn

from core.streams import prepare_streams

_INTERRUPTED = 130


def ballast() -> None:
    """What a shell starts. Ctrl-C in the half second that the imports take ends it without a traceback."""
    prepare_streams()
    heeded = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN  # as of what a script starts with &
    if heeded:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    _ignore_other_programs_settings()
    from api.cli.main import main

    if heeded:
        signal.signal(signal.SIGINT, _interrupt)
    main()


def _ignore_other_programs_settings() -> None:
    """What the environment holds for other programs does not end us, or steer our libraries."""
    from core.environment import remove_foreign_variables

    if sys.warnoptions:  # with PYTHONWARNINGS=error, whatever a library has to say to its developers would be fatal
        warnings.resetwarnings()
        for unwanted in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", unwanted)  # as Python does
    remove_foreign_variables()


def _interrupt(*_: object) -> NoReturn:
    """Python drops an exception that meets it in a callback of its own: then a second must be long enough."""
    end = threading.Timer(1, os._exit, [_INTERRUPTED])
    end.daemon = True
    end.start()
    raise KeyboardInterrupt
