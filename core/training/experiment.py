"""One experiment as it trains: all that a checkpoint has to hold, in one object, and the steps that move it on."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from core.results import LOSS_POINT_EVERY, Checkpoint, Command, LossPoint
from core.spec import Spec
from core.training import models, seeding
from core.training.checkpoint import Snapshot, decode, encode
from core.training.datasets import Data
from core.training.errors import BadCheckpoint, BadData
from core.training.evaluation import output_indices
from core.training.losses import objective
from core.training.resampling import examples_of_epoch
from core.training.stepping import Batch, learner_of, take_step


class Met(NamedTuple):
    """The batches of an epoch, on the device that trains."""

    logits: Tensor  # [steps, batch, 2], as computed
    labels: Tensor  # int64 [steps, batch]: output indices


class TrainMetrics(NamedTuple):
    """What the batches of an epoch gave: in training mode, each before its step. Numbers on the CPU."""

    losses: Tensor  # [steps], as computed
    n: tuple[int, int]  # images by output index
    correct: tuple[int, int]  # and how many of them were right
    met: Met | None  # for diagnostics; None without: after a resume in mid-epoch, some of it would be unknown


class _OpenEpoch:
    """The pass over the training set that is under way: its batches, drawn at once, and what its steps have given."""

    def __init__(self, order: Tensor, labels: Tensor, keep_bits: Tensor | None, dtype: torch.dtype) -> None:
        steps, batch = order.shape
        self.order = order  # int64 [steps, batch]
        self.labels = labels  # int64 [steps, batch]
        self.keep_bits = keep_bits
        self.step = 0  # taken
        self.losses = torch.empty(steps, dtype=dtype, device=order.device)
        self.logits = torch.empty(steps, batch, models.OUTPUTS, dtype=dtype, device=order.device)
        self._counted_to, self._counts = 0, torch.zeros(4, dtype=torch.int64)

    def resume(self, step: int, losses: Tensor, counts: tuple[int, ...]) -> None:
        """As it stood after `step` steps, but for their logits."""
        self.step = self._counted_to = step
        self.losses[:step] = losses.to(self.losses)
        self._counts = torch.tensor(counts)

    def resume_logits(self, logits: Tensor | None) -> None:
        """Those of the steps taken, for diagnostics."""
        taken = self.logits[: self.step]
        if logits is None or logits.shape != taken.shape:
            raise BadCheckpoint("it is the checkpoint of another experiment: it does not hold what diagnostics need")
        taken.copy_(logits)

    def counts(self) -> tuple[int, ...]:
        """Images of the steps taken, by output; then how many of them were right."""
        new = slice(self._counted_to, self.step)
        right, labels = output_indices(self.logits[new]) == self.labels[new], self.labels[new]
        first, second = labels == 0, labels == 1
        counts = torch.stack([first.sum(), second.sum(), (right & first).sum(), (right & second).sum()])
        return tuple((self._counts + counts.cpu()).tolist())  # host sync: one an epoch, and one a checkpoint


class Experiment:
    """In training: it changes by steps. What the store has of it is `core.store.experiments.Experiment`.

    Raises BadData where a batch does not fit into the training set, BadCheckpoint where the checkpoint to go on from is
    none of this spec's."""

    def __init__(self, spec: Spec, data: Data, dtype: torch.dtype, checkpoint: bytes | None = None) -> None:
        self.spec = spec
        model = models.build(spec.model, data.input_shape, spec.seed, spec.precision)
        self.model = model.to(data.device, dtype)
        self._learner = learner_of(self.model)
        self.epoch = 0  # whole passes over the training set
        self.loss_tail: list[float] = []  # batch losses since the last loss point, float32
        self.loss_points: list[LossPoint] = []  # not yet in a row
        self._iteration = 0  # steps of the whole passes
        self._data = data
        self._dtype = dtype
        self._examples = examples_of_epoch(spec, data)  # on the CPU, as permutations are
        self._batch = _batch_size(spec, len(self._examples))
        self._objective = objective(
            spec.loss, spec.loss_weights, data.base_index, self._class_sizes(), data.device, dtype
        )
        self._dropout = models.dropout(spec.model)
        if checkpoint is None:
            self._open = self._next_epoch()
        else:
            self._resume(decode(checkpoint))
        self._saved_at = self.iteration  # there is nothing new to save yet

    @property
    def iteration(self) -> int:
        """Steps, through epochs."""
        return self._iteration + self._open.step

    @property
    def epoch_is_over(self) -> bool:
        """Its steps are taken, and `end_epoch` has not yet told what they gave."""
        return self._open.step == len(self._open.order)

    def advance(self, command: Callable[[], Command]) -> Command:
        """Take steps until the epoch is over, or until `command`, which is asked before every step, is another than to
        go on: then returns that one. To save what was saved at this very step is to go on."""
        if self.epoch_is_over:
            return command()
        self.model.train()
        while not self.epoch_is_over:
            now = command()
            if now is Command.SAVE and self._saved_at == self.iteration:
                now = Command.GO_ON
            if now is not Command.GO_ON:
                return now
            self._take_a_step()
        return Command.GO_ON

    def end_epoch(self) -> TrainMetrics | None:
        """What the epoch that is over has given; None where it has no row. The next one is drawn."""
        losses = self._open.losses.cpu()
        self.epoch += 1
        metrics = None
        if self.spec.evaluated(self.epoch):  # counting takes as long as a small step
            met = Met(self._open.logits, self._open.labels) if self.spec.diagnostics else None
            metrics = TrainMetrics(losses, *_pairs(self._open.counts()), met)
        self._collect_losses(losses.float().tolist())
        self._open = self._next_epoch()
        return metrics

    def pop_loss_points(self) -> tuple[LossPoint, ...]:
        """The loss points since this was last called."""
        points = tuple(self.loss_points)
        self.loss_points.clear()
        return points

    def checkpoint(self) -> Checkpoint:
        """From which another goes on."""
        self._saved_at = self.iteration
        snapshot = Snapshot(
            epoch=self.epoch,
            step=self._open.step,
            iteration=self.iteration,
            model={name: _cpu_copy(tensor) for name, tensor in self.model.state_dict().items()},
            momentum={name: _cpu_copy(velocity) for name, velocity in self._momentum().items()},
            losses=_cpu_copy(self._open.losses[: self._open.step]),
            logits=_cpu_copy(self._open.logits[: self._open.step]) if self.spec.diagnostics else None,
            counts=self._open.counts(),
            loss_tail=tuple(self.loss_tail),
            loss_points=tuple(self.loss_points),
        )
        return Checkpoint(self.epoch, self._open.step, self.iteration, encode(snapshot))

    @torch.no_grad()
    def _resume(self, snapshot: Snapshot) -> None:
        _copy_into(self.model.state_dict(), snapshot.model)
        _copy_into(self._momentum(), snapshot.momentum)
        self.epoch = snapshot.epoch
        self._iteration = snapshot.iteration - snapshot.step
        self.loss_tail = list(snapshot.loss_tail)
        self.loss_points = list(snapshot.loss_points)
        self._open = self._next_epoch()
        if snapshot.step > len(self._open.order):
            raise BadCheckpoint("it is the checkpoint of another experiment: its epochs have more steps")
        self._open.resume(snapshot.step, snapshot.losses, snapshot.counts)
        if self.spec.diagnostics:
            self._open.resume_logits(snapshot.logits)

    def _momentum(self) -> dict[str, Tensor]:
        """Velocities by parameter, where there is momentum: else they stay zero."""
        if not self.spec.optimizer.momentum:
            return {}
        names = (name for name, _ in self.model.named_parameters())
        return dict(zip(names, self._learner.velocities, strict=True))

    def _next_epoch(self) -> _OpenEpoch:
        """The next one, not yet begun."""
        data, batch = self._data, self._batch
        n = len(self._examples)
        steps = n // batch  # the last incomplete batch is dropped
        order = self._examples[seeding.permutation(self.spec.seed, self.epoch + 1, n)[: steps * batch]]
        order = order.view(steps, batch).to(data.device)
        return _OpenEpoch(order, data.train_labels[order], self._keep_bits(steps), self._dtype)

    def _class_sizes(self) -> tuple[int, int]:
        """Examples of an epoch, by output index."""
        second = int(self._data.train_labels.cpu()[self._examples].sum())
        return len(self._examples) - second, second

    def _take_a_step(self) -> None:
        now = self._open
        batch = self._next_batch()
        now.losses[now.step], now.logits[now.step] = take_step(
            self._learner, batch, self._objective, self.spec.optimizer
        )
        now.step += 1

    def _next_batch(self) -> Batch:
        now = self._open
        inputs = self._data.train.inputs(now.order[now.step], self._dtype)
        keep = None
        if self._dropout is not None and now.keep_bits is not None:
            mask = seeding.keep_mask(now.keep_bits[now.step], self._dropout.units)
            keep = mask.to(self._dtype) / (1 - self._dropout.p)
        return Batch(inputs, now.labels[now.step], keep)

    def _keep_bits(self, steps: int) -> Tensor | None:
        if self._dropout is None:
            return None
        bits = seeding.dropout_bits(self.spec.seed, self.epoch + 1, steps, self._batch, *self._dropout)
        return bits.to(self._data.device)

    def _collect_losses(self, losses: list[float]) -> None:
        for loss in losses:
            self._iteration += 1
            self.loss_tail.append(loss)
            if len(self.loss_tail) == LOSS_POINT_EVERY:
                self.loss_points.append(LossPoint(self._iteration, mean(self.loss_tail)))
                self.loss_tail.clear()


def mean(losses: Sequence[float]) -> float:
    """The mean of float32 values as a float32: the exact sum, rounded once, so that no order of summing matters."""
    return torch.tensor(math.fsum(losses) / len(losses), dtype=torch.float32).item()


def _pairs(counts: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    n0, n1, correct0, correct1 = counts
    return (n0, n1), (correct0, correct1)


def _cpu_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU that training does not change, float32 where it is a number with a fraction."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def _copy_into(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raises BadCheckpoint where `stored` has other names or shapes."""
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if {name: tensor.shape for name, tensor in stored.items()} != shapes:
        raise BadCheckpoint("it is the checkpoint of another experiment: its tensors have other names or shapes")
    for name, tensor in own.items():
        tensor.copy_(stored[name])


def _batch_size(spec: Spec, n: int) -> int:
    """For an epoch of `n` examples."""
    batch = n if spec.batch_size is None else spec.batch_size
    if batch > n:
        raise BadData(
            f"batch_size {batch} is larger than the training set of {spec.dataset.name}, which has {n} examples: "
            f"choose at most {n}, or null for the full batch"
        )
    return batch
