"""How the programs of this wing end: a sentence on standard error, and an exit code (CONTRACT §3)."""

import sys
from collections.abc import Callable

from core.errors import BallastError
from core.faults import UnreadableSpec

DONE, FAILED, USAGE, EXPERIMENT_FAILED, INTERRUPTED = 0, 1, 2, 4, 130


def exit_code(program: Callable[[], int]) -> int:
    """What `program` returns, or what stands for what it raises."""
    try:
        return program()
    except UnreadableSpec as error:
        complain(str(error))
        return USAGE
    except BallastError as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def complain(sentence: str) -> None:
    print(f"ballast: {sentence}", file=sys.stderr)
