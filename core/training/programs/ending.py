"""How the programs of this wing end: a sentence on standard error, and an exit code (api/README.md, "Exit codes")."""

import os
import sys
from collections.abc import Callable

from core.errors import BallastError
from core.reading import UnreadableSpec
from core.streams import prepare_streams, print_error

DONE, FAILED, USAGE, EXPERIMENT_FAILED, INTERRUPTED = 0, 1, 2, 4, 130


def exit_code(program: Callable[[], int]) -> int:
    """What `program` returns, or what stands for what it raises."""
    prepare_streams()
    try:
        code = program()
        print(end="", flush=True)  # while it can still be answered for; nothing where stdout is closed
    except UnreadableSpec as error:
        print_error(str(error))
        return USAGE
    except BallastError as error:
        print_error(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads any more
        _print_no_more()
        return FAILED
    except OSError as error:  # such as a disk that is full, where it prints
        print_error(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        _print_no_more()
        return FAILED
    return code


def _print_no_more() -> None:
    """What could not be printed would be tried again at the end, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
