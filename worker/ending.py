"""The end of a worker process from within: with which status, and how. When it is time is for others to say.

The launcher restarts a process on any status but 0, unless it could not use its device from the start.
"""

import os
from typing import NoReturn

NOT_IN_TIME = 1  # told to leave, and training did not stop within the grace time. (Not started at all is 1, too.)
DEVICE_BROKEN = 70  # the device fails whatever this process asks of it; another process may be able to use it
WISH_NOT_OBEYED = 75  # training obeyed no cancel, no pause and no lost claim: a call to the device never returns
DEVICE_UNUSABLE = 78  # there is no such device: nothing was claimed


def end_process(status: int) -> NoReturn:
    """End at once, whatever other threads are in: a thread cannot be ended, and Python waits for them without limit."""
    os._exit(status)
