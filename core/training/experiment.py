"""One experiment as it trains: all that a checkpoint has to hold, in one object, and the epoch that moves it on."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from core.results import LOSS_POINT_EVERY, LossPoint
from core.spec import Spec
from core.training import models, seeding
from core.training.datasets import Data
from core.training.errors import BadData
from core.training.evaluation import predicted
from core.training.images import normalised
from core.training.losses import output_weights, weighted_cross_entropy


class Met(NamedTuple):
    """An epoch as its batches were met: in training mode, each before its step. On the CPU."""

    losses: Tensor  # [steps], as computed
    n: tuple[int, int]  # images by output index
    correct: tuple[int, int]  # and how many of them were right


class Experiment:
    """Changes by whole epochs. Raises BadData where a batch does not fit into the training set."""

    def __init__(self, spec: Spec, data: Data, dtype: torch.dtype) -> None:
        self.spec = spec
        self.model = models.build(spec.model, data.channels, spec.seed).to(data.device, dtype)
        self.parameters: list[Tensor] = list(self.model.parameters())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]  # of momentum
        self.epoch = 0  # passes over the training set
        self.iteration = 0  # steps, through epochs
        self.loss_tail: list[float] = []  # batch losses since the last loss point, float32
        self.loss_points: list[LossPoint] = []  # not yet in a row
        self._data = data
        self._dtype = dtype
        self._batch = _batch_size(spec, data)
        weights = output_weights(spec.loss, spec.weights, data.base_index, data.class_sizes)
        self._weights = weights.to(data.device, dtype)
        self._dropout = models.dropout(spec.model)

    def train_epoch(self, wish: Callable[[], bool]) -> Met | None:
        """One pass over the training set. None when `wish` came true: it is asked before every step, and then this
        experiment is of no further use."""
        data, batch = self._data, self._batch
        n = len(data.train_labels)
        steps = n // batch  # the last incomplete batch is dropped
        order = seeding.permutation(self.spec.seed, self.epoch + 1, n).to(data.device)
        order = order[: steps * batch].view(steps, batch)
        labels = data.train_labels[order]
        keep_bits = self._keep_bits(steps)
        losses = torch.empty(steps, dtype=self._dtype, device=data.device)
        logits = torch.empty(steps, batch, models.OUTPUTS, dtype=self._dtype, device=data.device)
        self.model.train()
        for step in range(steps):
            if wish():
                return None
            keep = None if keep_bits is None else keep_bits[step]
            losses[step], logits[step] = self._step(order[step], labels[step], keep)
        met = _met(losses, logits, labels)
        self.epoch += 1
        self._note(met.losses.float().tolist())
        return met

    def take_loss_points(self) -> tuple[LossPoint, ...]:
        """The loss points since this was last asked."""
        points = tuple(self.loss_points)
        self.loss_points.clear()
        return points

    def _step(self, chosen: Tensor, labels: Tensor, keep_bits: Tensor | None) -> tuple[Tensor, Tensor]:
        images = normalised(self._data.train_images[chosen], self._dtype)
        if self._dropout is None or keep_bits is None:
            logits = self.model(images)
        else:
            keep = seeding.kept(keep_bits, self._dropout.units).to(self._dtype)
            logits = self.model(images, keep / (1 - self._dropout.p))
        loss = weighted_cross_entropy(self.spec.loss, logits, labels, self._weights)
        self._descend(torch.autograd.grad(loss, self.parameters))
        return loss.detach(), logits.detach()

    @torch.no_grad()
    def _descend(self, gradients: tuple[Tensor, ...]) -> None:
        """The arithmetic of torch.optim.SGD, without its second of imports."""
        optimizer = self.spec.optimizer
        if optimizer.weight_decay:
            gradients = torch._foreach_add(gradients, self.parameters, alpha=optimizer.weight_decay)
        if optimizer.momentum:
            torch._foreach_mul_(self.velocities, optimizer.momentum)
            torch._foreach_add_(self.velocities, gradients)
            gradients = tuple(self.velocities)
        torch._foreach_add_(self.parameters, gradients, alpha=-optimizer.lr)

    def _keep_bits(self, steps: int) -> Tensor | None:
        if self._dropout is None:
            return None
        bits = seeding.dropout_bits(self.spec.seed, self.epoch + 1, steps, self._batch, *self._dropout)
        return bits.to(self._data.device)

    def _note(self, losses: list[float]) -> None:
        for loss in losses:
            self.iteration += 1
            self.loss_tail.append(loss)
            if len(self.loss_tail) == LOSS_POINT_EVERY:
                self.loss_points.append(LossPoint(self.iteration, mean(self.loss_tail)))
                self.loss_tail.clear()


def mean(losses: Sequence[float]) -> float:
    """The mean of float32 values as a float32: the exact sum, rounded once, so that no order of summing matters."""
    return torch.tensor(math.fsum(losses) / len(losses), dtype=torch.float32).item()


def _met(losses: Tensor, logits: Tensor, labels: Tensor) -> Met:
    right = predicted(logits) == labels
    first, second = labels == 0, labels == 1
    counts = torch.stack([first.sum(), second.sum(), (right & first).sum(), (right & second).sum()])
    n0, n1, correct0, correct1 = counts.tolist()  # host sync: the one of an epoch's training
    return Met(losses.cpu(), (n0, n1), (correct0, correct1))


def _batch_size(spec: Spec, data: Data) -> int:
    n = len(data.train_labels)
    batch = n if spec.batch_size is None else spec.batch_size
    if batch > n:
        raise BadData(
            f"batch_size {batch} is larger than the training set of {spec.dataset.name}, which has {n} images: choose "
            f"at most {n}, or null for the full batch"
        )
    return batch
