"""One step of training: forward, loss, backward, SGD. It takes all that it needs and remembers nothing.

Which batch comes next, what a step has given, and what of it is kept are the concern of `experiment`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.spec import Optimizer
from core.training.losses import Objective


class Learner(NamedTuple):
    """What a step changes, in place."""

    model: nn.Module
    parameters: list[Tensor]
    velocities: list[Tensor]  # of momentum, one a parameter; without momentum they stay zero


def learner_of(model: nn.Module) -> Learner:
    """`model` before its first step."""
    parameters: list[Tensor] = list(model.parameters())
    return Learner(model, parameters, [torch.zeros_like(parameter) for parameter in parameters])


class Batch(NamedTuple):
    inputs: Tensor  # [n, …], as the network takes them
    labels: Tensor  # int64 [n]: output indices
    keep: Tensor | None  # [n, units of dropout]: 0 where one is dropped, else 1 / (1 - p); None: nothing is dropped


def take_step(learner: Learner, batch: Batch, objective: Objective, optimizer: Optimizer) -> tuple[Tensor, Tensor]:
    """Train `learner`, whose model is in training mode, on `batch`. Returns the loss, a scalar, and the logits [n, 2],
    both from before the step."""
    logits = learner.model(batch.inputs) if batch.keep is None else learner.model(batch.inputs, batch.keep)
    value = objective.of_batch(logits, batch.labels)
    _descend(learner, torch.autograd.grad(value, learner.parameters), optimizer)
    return value.detach(), logits.detach()


@torch.no_grad()
def _descend(learner: Learner, gradients: tuple[Tensor, ...], optimizer: Optimizer) -> None:
    """The arithmetic of torch.optim.SGD, without its second of imports."""
    if optimizer.weight_decay:
        gradients = torch._foreach_add(gradients, learner.parameters, alpha=optimizer.weight_decay)
    if optimizer.momentum:
        torch._foreach_mul_(learner.velocities, optimizer.momentum)
        torch._foreach_add_(learner.velocities, gradients)
        gradients = tuple(learner.velocities)
    torch._foreach_add_(learner.parameters, gradients, alpha=-optimizer.lr)
