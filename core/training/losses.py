"""What is descended: a loss of each example, weighted and normalised (core/training/README.md, "Losses").

A loss is a short function that prepares what depends on the class sizes alone, and gives the loss of each example.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from core.spec import AnyLoss, ImportanceWeight, losses

# Of each example, unweighted: [n] of logits [n, 2] and labels int64 [n], output indices.
EachLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """What one experiment descends: its loss, with what that needs to know of the weights and of the training set."""

    loss: AnyLoss
    weights: Tensor  # [2], of an example by its output; under dataset_mean their mean over the training set is 1
    each: EachLoss

    def of_batch(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A scalar: Σwℓ / Σw under `weight_sum`, else Σwℓ / n. `logits` [n, 2], `labels` int64 [n]."""
        by_sum = self.loss.normalization == "weight_sum"
        if self.loss.name == "cross_entropy":  # fused: half the time; and the bits of every curve so far
            if by_sum:
                return F.cross_entropy(logits, labels, self.weights)
            return F.cross_entropy(logits, labels, self.weights, reduction="sum") / len(labels)
        weights = self.weights[labels]
        return (weights * self.each(logits, labels)).sum() / (weights.sum() if by_sum else len(labels))


def objective(
    loss: AnyLoss,
    weights: ImportanceWeight,
    base_index: int,
    class_sizes: tuple[int, int],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Objective:
    """For logits of `dtype` on `device`. `class_sizes` counts the examples of an epoch by output index; `base_index` is
    the output of the base class."""
    pair = loss.class_weights(weights)
    by_output = [pair.base, pair.other] if base_index == 0 else [pair.other, pair.base]
    scale = 1.0
    if loss.normalization == "dataset_mean":  # Wang et al. 2022
        total = sum(weight * size for weight, size in zip(by_output, class_sizes, strict=True))
        scale = sum(class_sizes) / total
    by_class = torch.tensor([weight * scale for weight in by_output], dtype=torch.float64)
    sizes = torch.tensor(class_sizes, dtype=torch.float64).clamp(min=1)  # label noise may leave nothing of a class
    return Objective(loss, by_class.to(device, dtype), _each(loss, sizes.to(device, dtype)))


def _each(loss: AnyLoss, sizes: Tensor) -> EachLoss:
    """`sizes` [2] counts the training examples by output, in the logits' dtype."""
    match loss:
        case losses.CrossEntropy():
            return _cross_entropy
        case losses.Polynomial():
            return _polynomial(loss)
        case losses.LogitAdjusted():
            return _logit_adjusted(loss, sizes)
        case losses.VectorScaling():
            return _vector_scaling(loss, sizes)
        case losses.Ldam():
            return _ldam(loss, sizes)
        case losses.Focal():
            return _focal(loss)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax_y(f)."""
    return F.cross_entropy(logits, labels, reduction="none")


def _polynomial(loss: losses.Polynomial) -> EachLoss:
    """log(1 + e^-z) / log(1 + e^-1) up to the margin z = 1, z^-α beyond: Wang et al. 2022 (arXiv:2112.12986), their
    polynomially-tailed loss with β = 1 and a logistic left part. The slope at 1 jumps from -0.86 to -α."""

    def each(logits: Tensor, labels: Tensor) -> Tensor:
        z = _margins(logits, labels)
        # The power is only taken where it is finite: an infinite one, not chosen, would give 0 · ∞ = NaN backward.
        return torch.where(z <= 1, -F.logsigmoid(z) / math.log1p(math.exp(-1)), z.clamp(min=1) ** -loss.alpha)

    return each


def _logit_adjusted(loss: losses.LogitAdjusted, sizes: Tensor) -> EachLoss:
    """-log softmax_y(f + τ log π), π = n / Σn: Menon et al. 2021 (arXiv:2007.07314), eq. 10."""
    offsets = loss.tau * (sizes / sizes.sum()).log()
    return lambda logits, labels: _cross_entropy(logits + offsets, labels)


def _vector_scaling(loss: losses.VectorScaling, sizes: Tensor) -> EachLoss:
    """-log softmax_y(Δf + ι), Δ = (n / max n)^γ, ι = τ log π: Kini et al. 2021 (arXiv:2103.01550), their VS-loss."""
    factors = (sizes / sizes.max()) ** loss.gamma
    offsets = loss.tau * (sizes / sizes.sum()).log()
    return lambda logits, labels: _cross_entropy(factors * logits + offsets, labels)


def _ldam(loss: losses.Ldam, sizes: Tensor) -> EachLoss:
    """-log softmax_y(s(f - Δ_y e_y)), Δ ∝ n^(-1/4) with `max_margin` as its largest: Cao et al. 2019, eq. 12
    (arXiv:1906.07413), and s of their code. Only the right output is lowered."""
    margins = loss.max_margin * (sizes / sizes.min()) ** -0.25
    lowered = margins.diag()  # a row a label
    return lambda logits, labels: _cross_entropy(loss.scale * (logits - lowered[labels]), labels)


def _focal(loss: losses.Focal) -> EachLoss:
    """-(1 - p)^γ log p, p = softmax_y(f): Lin et al. 2017 (arXiv:1708.02002), eq. 5, with the importance weight as its
    α."""

    def each(logits: Tensor, labels: Tensor) -> Tensor:
        z = _margins(logits, labels)
        # Of two outputs log(1 - p) is log sigmoid(-z); a power of 1 - p, where p rounds to 1, gives NaN backward.
        return -torch.exp(loss.gamma * F.logsigmoid(-z)) * F.logsigmoid(z)

    return each


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """z = y(f₁ - f₀), y = ±1: how far the right output is above the wrong one, [n]."""
    return (logits[:, 1] - logits[:, 0]) * (2 * labels - 1)
