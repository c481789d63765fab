"""The states of an experiment and the moves between them (api/README.md, "States"). Who may make a move is the store's
concern."""

from enum import StrEnum


class State(StrEnum):
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # held by one worker under a lease
    PAUSED = "paused"  # waits for its user
    SUCCEEDED = "succeeded"  # its curve is whole
    FAILED = "failed"  # ended by `error`
    CANCELLED = "cancelled"  # ended by its user


class Ask(StrEnum):
    """What a user may ask of an experiment, or of a whole sweep."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


class Wish(StrEnum):
    """What is asked of an experiment that is running. Obeyed by its worker, at a step."""

    CANCEL = "cancel"
    PAUSE = "pause"


class ErrorKind(StrEnum):
    """Why an experiment failed."""

    DIVERGED = "diverged"  # the loss or a logit is no longer finite
    BAD_DATA = "bad_data"  # the data set is missing, damaged or does not fit the spec
    BAD_DEVICE = "bad_device"  # its worker's device cannot compute as the spec says
    OUT_OF_MEMORY = "out_of_memory"  # the device has too little memory
    LOST = "lost"  # its worker died or fell silent, too often
    INTERNAL = "internal"  # our fault: a traceback is attached


class WorkerState(StrEnum):
    IDLE = "idle"  # polls for work
    BUSY = "busy"  # trains
    LEAVING = "leaving"  # was asked to stop, claims nothing more
    GONE = "gone"  # left in order
    DEAD = "dead"  # fell silent


class DeviceType(StrEnum):
    """On what an experiment may train: it decides no curve, and is no part of its spec."""

    ANY = "any"
    CPU = "cpu"
    GPU = "gpu"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
WAITING = frozenset({State.QUEUED, State.PAUSED})  # these have a place in the queue


def clause(state: str) -> str:
    """For a sentence: experiment 22 "has succeeded", "is running"."""
    return f"has {state}" if state in (State.SUCCEEDED, State.FAILED) else f"is {state}"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset(State) - {State.RUNNING},
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}
