"""What training is told and what it yields: the typed values that cross between training and the store. The curve that
is made of them for a reader is core/curve.py.
"""

import hashlib
import json
import math
import struct
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import NamedTuple

from core.spec import Spec

LOSS_POINT_EVERY = 100  # iterations, counted through epochs
NOISE_IMAGES = 1000  # the test set of diagnostics, where the data are images


class Command(Enum):
    """What training is told between two steps."""

    GO_ON = auto()
    SAVE = auto()  # yield a checkpoint, and go on
    STOP = auto()  # yield a checkpoint, and end
    DROP = auto()  # end: nothing more of it is wanted


class LossPoint(NamedTuple):
    iteration: int  # a multiple of 100
    value: float  # mean loss of the last 100 batches, float32; may be NaN or infinite


class Predictions(NamedTuple):
    """What was predicted of every test image: a bit an image, the first image the highest bit, 1 = base; in the file
    order of the test set."""

    in_domain: bytes
    out_of_domain: bytes


class Diagnostics(NamedTuple):
    """What tells the explanations of a row apart (core/training/README.md, "Diagnostics"): float32, NaN or infinite
    where a logit or a weight is; the loss and the margins of a class that the epoch's batches have not met are NaN."""

    loss_base: float  # unweighted, the mean over the images of the class in the epoch's batches
    loss_other: float
    margin_base: float  # by how much the right logit exceeds the other one, the mean over the same
    margin_other: float
    margin_low_base: float  # and its 5 % quantile
    margin_low_other: float
    norm: float  # of all parameters
    norm_last_layer: float
    bias_difference: float  # of the last layer, base - other
    n_noise: int  # images of noise; 0 where the data are no images
    base_noise: int  # predicted as the base class
    finite_noise: int  # images whose logits are all finite
    dead_units: tuple[float, ...]  # the share of each layer's ReLU units, from the input to the output

    def packed(self) -> bytes:
        """As bytes, equal where all numbers are, bit for bit; NaN equals NaN."""
        *numbers, dead_units = self
        floats = [math.nan if math.isnan(value) else value for value in (*numbers, *dead_units)]
        return _LAYOUT + struct.pack(f"<{len(floats)}f", *floats)

    @classmethod
    def unpacked(cls, content: bytes) -> "Diagnostics | None":
        """None where a newer Ballast has packed them otherwise."""
        if content[:1] != _LAYOUT:
            return None
        floats = struct.unpack(f"<{len(content) // 4}f", content[1:])
        (*measured, n, base, finite), dead_units = floats[:_SINGLE], floats[_SINGLE:]
        return cls._make([*measured, int(n), int(base), int(finite), dead_units])


_LAYOUT = b"\x01"  # of packed diagnostics: float32, little-endian, in the order of the fields
_SINGLE = len(Diagnostics._fields) - 1  # numbers before those of the layers


class EpochResult(NamedTuple):
    """One row of a curve: counts of whole images and float32 losses, so that rows can be compared bit by bit."""

    epoch: int  # after this many passes over the training set
    n_in_domain: int
    n_out_of_domain: int
    base_in_domain: int  # images predicted as the base class
    base_out_of_domain: int
    correct_in_domain: int
    finite_in_domain: int  # images whose logits are all finite
    finite_out_of_domain: int
    train_loss: float  # mean over the epoch's batches, float32; may be NaN or infinite
    train_n_base: int  # images of each class met in the epoch's batches,
    train_n_other: int
    train_correct_base: int  # and how many of them were right as they were met
    train_correct_other: int
    loss: tuple[LossPoint, ...]  # the loss points since the row before
    seconds: float  # of wall clock since the row before; the one value that a repeat need not reproduce
    diagnostics: Diagnostics | None = None  # where the spec asks for them
    predictions: Predictions | None = None  # of the epochs that `Spec.predicted` names
    weights: bytes | None = None  # the trained model as safetensors, with the last epoch

    @property
    def diverged(self) -> bool:
        return not (
            math.isfinite(self.train_loss)
            and self.finite_in_domain == self.n_in_domain
            and self.finite_out_of_domain == self.n_out_of_domain
        )

    def divergence(self, spec: Spec) -> str:
        """What became of a row that diverged, in a sentence."""
        what = "logits are no longer finite"
        if not math.isfinite(self.train_loss):
            what = f"the training loss became {self.train_loss}"
        remedies = ", or ".join([f"a smaller lr than {spec.optimizer.lr:g}", *spec.loss.remedies])
        return f"{what} in epoch {self.epoch}: try {remedies}"

    def same_as(self, other: "EpochResult") -> bool:
        """Bit for bit, but for the seconds; of what was counted, not of what was kept beside it. NaN equals NaN."""
        return self._bits() == other._bits()

    def _bits(self) -> tuple[object, ...]:
        losses = (self.train_loss, *(point.value for point in self.loss))
        return (
            self._replace(seconds=0.0, train_loss=0.0, loss=(), diagnostics=None, predictions=None, weights=None),
            tuple(point.iteration for point in self.loss),
            tuple("nan" if math.isnan(value) else struct.pack("<f", value) for value in losses),
            self.diagnostics and self.diagnostics.packed(),
        )


class Checkpoint(NamedTuple):
    """From which training goes on, with the same bits as if it had never stopped."""

    epoch: int  # whole passes over the training set; every row up to here has been yielded before
    step: int  # taken of the next one
    iteration: int  # steps, through epochs
    content: bytes


@dataclass(frozen=True)
class NumericsKey:
    """What must be equal for an equal spec to give equal bits."""

    engine: str
    precision: str
    memory_format: str
    torch: str
    device: str
    capability: str
    cudnn: int | None
    threads: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CodeVersion:
    version: str | None  # of the package
    commit: str | None  # where it is a clone
    dirty: bool | None  # with changes that no commit has


@dataclass(frozen=True)
class DeviceFacts:
    type: str
    name: str
    capability: str
    driver: str | None
    cuda: str | None
    cudnn: int | None


@dataclass(frozen=True)
class DataFacts:
    name: str
    sha256: str  # of every example and label


@dataclass(frozen=True)
class Provenance:
    """Where a curve comes from. What was stored by an older version, or a newer one, may have other fields: whoever
    reads it takes it as JSON."""

    code: CodeVersion
    python: str
    platform: str
    packages: dict[str, str | None]  # versions
    device: DeviceFacts
    threads: int
    dataset: DataFacts
    numerics_key: NumericsKey

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "numerics_sha256": self.numerics_key.sha256})
