"""All that training has to know to go on as if it had never stopped, as bytes and back (safetensors: they run no code).

No generator is among it: an epoch's random numbers are a function of the spec and the epoch, so the step says where to
go on (core/training/README.md, "Randomness").
"""

from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from core.results import LOSS_POINT_EVERY, LossPoint
from core.training.errors import BadCheckpoint

_MODEL, _MOMENTUM = "model/", "momentum/"


class Snapshot(NamedTuple):
    """Where an experiment stands between two steps. Tensors lie on the CPU."""

    epoch: int  # whole passes over the training set
    step: int  # taken of the next one
    iteration: int  # steps, through epochs
    model: dict[str, Tensor]  # parameters, float32, and buffers, under the names of the plain module
    momentum: dict[str, Tensor]  # float32, by parameter; empty without momentum
    losses: Tensor  # float32 [step], of the open epoch
    logits: Tensor | None  # float32 [step, batch, 2], of the open epoch, for diagnostics; None without them
    counts: tuple[int, ...]  # images met in it, by output; then how many of them were right
    loss_tail: tuple[float, ...]  # up to the open epoch, since the last loss point
    loss_points: tuple[LossPoint, ...]  # not yet in a row


def encode(snapshot: Snapshot) -> bytes:
    points = snapshot.loss_points
    first_point = points[0].iteration if points else 0
    numbers = (snapshot.epoch, snapshot.step, snapshot.iteration, first_point, *snapshot.counts)
    return save(
        {
            **{_MODEL + name: tensor for name, tensor in snapshot.model.items()},
            **{_MOMENTUM + name: tensor for name, tensor in snapshot.momentum.items()},
            "numbers": torch.tensor(numbers, dtype=torch.int64),
            "losses": snapshot.losses,
            **({} if snapshot.logits is None else {"logits": snapshot.logits}),
            "loss_tail": torch.tensor(snapshot.loss_tail, dtype=torch.float32),
            "loss_points": torch.tensor([point.value for point in points], dtype=torch.float32),
        }
    )


def decode(content: bytes) -> Snapshot:
    """Raises BadCheckpoint."""
    try:
        tensors = load(content)
        epoch, step, iteration, first_point, *counts = tensors["numbers"].tolist()
        points = enumerate(tensors["loss_points"].tolist())
        return Snapshot(
            epoch=epoch,
            step=step,
            iteration=iteration,
            model=_below(_MODEL, tensors),
            momentum=_below(_MOMENTUM, tensors),
            losses=tensors["losses"],
            logits=tensors.get("logits"),
            counts=tuple(counts),
            loss_tail=tuple(tensors["loss_tail"].tolist()),
            loss_points=tuple(LossPoint(first_point + i * LOSS_POINT_EVERY, value) for i, value in points),
        )
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadCheckpoint(f"it cannot be read as a checkpoint ({reason})") from error


def require_readable(content: bytes) -> None:
    """Raises BadCheckpoint."""
    decode(content)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
