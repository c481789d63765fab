"""The importance-weighted loss in its three normalisations (core/training/README.md, "Losses")."""

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from core import spec


def class_weights(
    loss: spec.AnyLoss, weights: spec.ImportanceWeight, base_index: int, class_sizes: tuple[int, int]
) -> Tensor:
    """The weight of an image by its output index: float64 [2] on the CPU. `class_sizes` counts the training images by
    output index; under `dataset_mean` the weights are scaled to mean 1 over them (Wang et al. 2022)."""
    by_output = [weights.base, weights.other] if base_index == 0 else [weights.other, weights.base]
    scale = 1.0
    match loss:
        case spec.CrossEntropy(normalization="dataset_mean"):
            total = sum(weight * size for weight, size in zip(by_output, class_sizes, strict=True))
            scale = sum(class_sizes) / total
    return torch.tensor([weight * scale for weight in by_output], dtype=torch.float64)


def loss_of_batch(loss: spec.AnyLoss, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """A scalar. `logits` [n, 2], `labels` int64 [n], `weights` [2] as `class_weights` gives them, in the logits'
    dtype."""
    match loss:
        case spec.CrossEntropy():
            return _cross_entropy(loss, logits, labels, weights)


def _cross_entropy(loss: spec.CrossEntropy, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σwℓ / Σw under `weight_sum`, else Σwℓ / n."""
    if loss.normalization == "weight_sum":
        return F.cross_entropy(logits, labels, weights)
    return F.cross_entropy(logits, labels, weights, reduction="sum") / len(labels)
