"""Programs that take the place of `ballast`: the launcher of workers, and training's own, which need torch."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from core.settings import Settings

# Runs the module that it is told. Ctrl-C ends it without a traceback, in the seconds that torch takes to import too.
_QUIETLY = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def exec_training(module: str, arguments: Sequence[str], as_json: bool, settings: "Settings") -> NoReturn:
    """One of training's own programs in our place, told where data and locks are. Raises CannotTrain."""
    from api.service import require_torch

    require_torch()
    where = ["--data-dir", str(settings.data_dir), "--locks-dir", str(settings.locks_dir)]
    json = ["--json"] if as_json else []
    exec_command([sys.executable, "-P", "-c", _QUIETLY, module, *where, *json, *arguments], settings)


def exec_command(command: list[str], settings: "Settings") -> NoReturn:
    """Put `command` in our place: signals, standard input and exit status are its own. It must unblock SIGINT."""
    # In its first moments Python takes a Ctrl-C for a fatal error.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execve(command[0], command, settings.child_environment())
