"""What training raises on purpose.

BallastError
└── TrainingError          the experiment cannot be trained
    ├── BadData            the data set is missing, damaged or does not fit the spec
    ├── BadCheckpoint      it is damaged, or of another experiment
    ├── BadDevice          this device cannot compute as the spec says
    └── DeviceUnusable     there is no such device
"""

from core.errors import BallastError


class TrainingError(BallastError):
    """An experiment cannot be trained. `str(error)` is one sentence for a person."""


class BadData(TrainingError):
    """The data set is missing, damaged or does not fit the spec. The sentence names the file or folder, the numbers and
    what to do."""


class BadCheckpoint(TrainingError):
    """Bytes from which training cannot go on. The sentence says why."""


class BadDevice(TrainingError):
    """A device that works, and cannot compute as the spec says. The sentence says what to do."""


class DeviceUnusable(TrainingError):
    """This host, or this torch, has no such device."""
