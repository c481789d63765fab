"""A kernel that answers every lock of a file with an error, as file systems without locks do: by seccomp, which needs
no rights. In a thread of these tests, or as `python -P nolocks.py ERRNO COMMAND …`.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")

_FLOCK, _FCNTL = {"x86_64": (73, 72), "aarch64": (32, 25)}[platform.machine()]  # system calls
_SETLK, _SETLKW, _OFD_SETLK, _OFD_SETLKW = 6, 7, 37, 38  # of fcntl

_NUMBER, _SECOND_ARGUMENT = 0, 24  # where seccomp_data has them
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2


def without_locks(error: int, act: Callable[[], _T]) -> _T:
    """What `act` returns or raises where every lock is answered by `error`."""
    with ThreadPoolExecutor(1, initializer=_refuse_locks, initargs=(error,)) as thread:
        return thread.submit(act).result()


def _refuse_locks(error: int) -> None:
    """From now on, for this thread and whatever it starts."""
    commands = (_SETLK, _SETLKW, _OFD_SETLK, _OFD_SETLKW)
    n = len(commands)
    program = [
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, n + 3, 0, _FLOCK),  # to the error
        (_EQUAL, 0, n + 1, _FCNTL),  # else to what is allowed
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        *((_EQUAL, n - i, 0, command) for i, command in enumerate(commands)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | error),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    filter_program = struct.pack("HxxxxxxP", len(program), ctypes.addressof(held))
    for arguments in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SET_SECCOMP, _FILTER, filter_program, 0, 0)):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "this kernel takes no filter")


if __name__ == "__main__":
    _refuse_locks(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
